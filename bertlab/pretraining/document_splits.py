"""Which documents are held out, and of a single document which parts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bertlab.cli.arguments import NspArguments
from bertlab.console import counted, info
from bertlab.data.dataset import SELECTION
from bertlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT = ("validation", SELECTION, "test")
# Between two parts of a single document this many sentences are left out; of a short one, a fiftieth.
GAP, GAP_PART = 10, 50

# Files are few, so negatives are from the same one.
_WHOLE_FILE = "--document_unit file --negatives same_document"
# From this fraction of documents of one sentence on, their number is printed.
SINGLE_SHARE = 0.1

Fractions = Mapping[str, float]


def fractions_of(arguments: NspArguments) -> dict[str, float]:
    """Return the fraction of the documents in each split but train."""
    return {name: getattr(arguments, f"{name}_fraction") for name in HELD_OUT}


def documents_needed(arguments: NspArguments) -> int:
    """Return how many documents a split needs at least: two where sentences are exchanged between documents."""
    return 2 if arguments.negatives == "other_document" and "nsp" in arguments.objective else 1


def sentences_needed(arguments: NspArguments) -> int:
    """Return how many sentences a document needs: of four, the first and the last pair can exchange their seconds."""
    return 4 if arguments.negatives == "same_document" and "nsp" in arguments.objective else 2


def split_documents(n_documents: int, arguments: NspArguments) -> dict[str, np.ndarray]:
    """Return the document numbers of train and of each held-out split, sorted.

    Every document is in exactly one split. A split has round(fraction * n_documents) documents, and at least
    `documents_needed`; a fraction of 0 makes none.

    Raises:
        UserError: there are too few documents.
    """
    fractions, least = fractions_of(arguments), documents_needed(arguments)
    counts = _counts(n_documents, fractions, least)
    if sum(counts.values()) + least > n_documents:
        held_out = " and ".join(f"{count} for --{name}_fraction" for name, count in counts.items()) or "none held out"
        documents = counted(n_documents, "document", "documents")
        raise UserError(
            f"the text has {documents}: with {held_out} too few are left for training.",
            _hint(n_documents, arguments),
        )
    order = np.random.default_rng(arguments.split_seed).permutation(n_documents)
    *parts, rest = np.split(order, np.cumsum(list(counts.values()), dtype=int))
    return {"train": np.sort(rest), **{name: np.sort(part) for name, part in zip(counts, parts, strict=True)}}


def is_split_in_parts(n_documents: int, arguments: NspArguments) -> bool:
    """Return True for a single document of which parts are held out."""
    return n_documents == 1 and documents_needed(arguments) == 1 and any(fractions_of(arguments).values())


def split_in_parts(sentences: "Dataset", arguments: NspArguments) -> tuple["Dataset", dict[str, np.ndarray]]:
    """Return the text with a document for each split and for each gap between two, and the numbers of the splits'.

    Train is the beginning of the text. The sentences in the gaps belong to no split.
    """
    n, least = len(sentences), sentences_needed(arguments)
    gap, counts = _gap(n), _counts(n, fractions_of(arguments), least)
    train = n - sum(counts.values()) - gap * len(counts)
    if train < least:
        raise UserError(f"the text is one document of {n} sentences, too few to hold parts out.", "Give more text.")
    sizes = [train, *(size for count in counts.values() for size in (gap, count))]
    number = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    numbered = sentences.remove_columns("document").add_column("document", number)
    return numbered, {name: np.array([2 * at]) for at, name in enumerate(["train", *counts])}


def describe_parts(sentences: int) -> str:
    """Return the message that parts of a single document are held out."""
    gap = counted(_gap(sentences), "sentence", "sentences")
    return f"one document: its end is held out, with a gap of {gap} before each part"


def check_sizes(sentences: "Dataset", members: Mapping[str, np.ndarray], arguments: NspArguments) -> None:
    """Raise UserError for a split whose documents are all too short for pairs; say how many are of one sentence."""
    lengths = np.bincount(sentences.data.column("document").to_numpy())
    for name, documents in members.items():
        longest = lengths[documents].max(initial=0)
        if longest < 2:
            raise UserError(f"the {name} split has no document of two or more sentences.", _larger(arguments))
        if longest < sentences_needed(arguments):
            ways = ["--negatives other_document"] * (len(lengths) >= 2 * len(members))
            ways += ["a larger --document_unit"] * (arguments.document_unit != "file")
            raise UserError(
                f"the {name} split has no document of four or more sentences, as --negatives same_document needs.",
                f"Choose {' or '.join(ways)}, or give longer texts." if ways else "Give longer texts.",
            )
    # The gaps between parts of a single document are in no split.
    lengths = lengths[np.concatenate(list(members.values()))]
    single = int(np.sum(lengths == 1))
    if single > SINGLE_SHARE * len(lengths):
        info(f"{single:,} of {len(lengths):,} documents are one sentence each and give no pair.")


def _larger(arguments: NspArguments) -> str:
    """Return the flags with which documents have more sentences."""
    unit, by_line = arguments.document_unit, arguments.sentence_splitter == "line"
    lines = "" if by_line else "Where each line is a sentence (verse, chat, bullets), choose --sentence_splitter line"
    if unit == "line":
        larger = f"--document_unit block, or where no blank lines part the texts, {_WHOLE_FILE}."
        return f"{lines} and {larger}" if lines else f"Choose {larger}"
    if unit == "block":
        return f"{lines}; where each block is one, {_WHOLE_FILE}." if lines else f"Choose {_WHOLE_FILE}."
    return f"{lines or 'Give longer texts'}, or --objective mlm, which needs no pairs."


def _gap(sentences: int) -> int:
    return max(1, min(GAP, sentences // GAP_PART))


def _counts(n_documents: int, fractions: Fractions, least: int) -> dict[str, int]:
    return {name: max(least, round(part * n_documents)) for name, part in fractions.items() if part}


def _hint(n_documents: int, arguments: NspArguments) -> str:
    """Return the flags with which there are enough documents: fewer splits, other negatives, or smaller documents."""
    fractions, least = fractions_of(arguments), documents_needed(arguments)
    if n_documents >= least * (1 + sum(map(bool, fractions.values()))):
        return "Lower the fractions."
    # With a splitter at every line, a line is one sentence and gives no pair.
    has_lines = arguments.document_unit != "line" and arguments.sentence_splitter != "line"
    units = ["block (paragraphs)"] * (arguments.document_unit == "file") + ["line"] * has_lines
    smaller = f" Or take smaller documents: --document_unit {' or '.join(units)}." if units else ""
    for needed in range(least, 0, -1):
        for left_out in ((), (SELECTION,), (SELECTION, "test")):
            rest = [name for name in fractions if fractions[name] and name not in left_out]
            if n_documents >= needed * (1 + len(rest)) or n_documents == needed == 1:
                flags = ["--negatives same_document"] * (needed < least)
                flags += [f"--{name}_fraction 0" for name in left_out if fractions[name]]
                flags += ["--early_stopping_patience 0"] * (SELECTION in left_out)
                return f"Pass {' '.join(flags)}, or give more text.{smaller}"
    return f"Give more text.{smaller}"
