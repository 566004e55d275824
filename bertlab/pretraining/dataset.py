"""From --text to the splits of an NSP run: documents, sentences, pairs, each document in one split only."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import config as datasets_config
from datasets.fingerprint import Hasher

from bertlab import __version__
from bertlab.cli.arguments import NspArguments
from bertlab.console import counted, info, say, warning
from bertlab.data import cache, tokenization
from bertlab.data.dataset import SELECTION, Data
from bertlab.data.files import file_digest
from bertlab.data.labels import SINGLE, LabelSchema
from bertlab.pretraining import document_splits, pairs, sentences, text_files

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# BERT's own order: id 0 says that the second segment follows the first.
CLASS_NAMES = ("IsNext", "NotNext")
METRICS = ("accuracy", "matthews_correlation", "f1_macro")
# The first is the primary metric of --objective mlm, which has no labels.
MLM_METRICS = ("masked_accuracy", "perplexity")
# [CLS] A [SEP] B [SEP]
SPECIAL_TOKENS = 3
# Enough to know the mean length of a token within one per cent.
SAMPLED_SENTENCES = 2_000
# Fewer lines than this may end inside a sentence by chance.
FEW_LINES = 10
# In the prose of 27 wrapped books 28 to 88 % of the lines end inside a sentence, where a line is a paragraph 0.2 %.
WRAPPED_SHARE = 0.25
# Of the files in the cache: what an earlier version wrote by another method is not read.
CACHE_FORMAT = 6
# This many epochs have negatives of their own; BERT's script made ten versions of its text (dupe_factor).
FRESH_EPOCHS = 10


@dataclass(frozen=True)
class Text:
    """The sentences of a run on disk, in a cache folder of their text and settings."""

    sentences: "Dataset"
    files: list[Path]
    folder: Path
    started: float = math.inf


def read(arguments: NspArguments, cache_dir: str | None, started: float = math.inf) -> Text:
    """Return the sentences of --text, written once per machine to an Arrow file in the cache.

    `started` is when this run began: --overwrite_cache writes again what is older.

    Raises:
        UserError: no text, no file, not text, or only one sentence.
    """
    files = text_files.without_blank(text_files.find_text_files(arguments.text), arguments.encoding)
    settings = (arguments.document_unit, arguments.sentence_splitter, arguments.language, arguments.encoding)
    versions = (__version__, version("sentencex"), CACHE_FORMAT)
    key = Hasher.hash([[file_digest(path) for path in files], settings, sorted(arguments.clean), versions])
    folder = Path(cache_dir or datasets_config.HF_DATASETS_CACHE) / "bertlab-nsp" / key
    path = folder / "sentences.arrow"
    write = functools.partial(sentences.write_sentences, files, arguments)
    table = _cached(path, arguments.overwrite_cache, started, write)
    documents = pairs.count_documents(table)
    parts = counted(len(files), "file", "files"), counted(documents, "document", "documents")
    say(f"{', '.join(parts)}, {len(table):,} sentences")
    for remark in sentences.read_remarks(path):
        info(remark)
    if document_splits.is_split_in_parts(documents, arguments):
        info(document_splits.describe_parts(len(table)))
    if arguments.document_unit == "line":
        _warn_if_wrapped(table)
    return Text(table, files, folder, started)


def _cached(path: Path, overwrite: bool, started: float, write: Callable[[Path], "Dataset"]) -> "Dataset":
    """Return the table at a path; one process of the machine writes it where it is missing or to be replaced."""
    from datasets import Dataset

    with cache.folder_lock(path.parent):
        return Dataset.from_file(str(path)) if cache.is_fresh(path, overwrite, started) else write(path)


def _warn_if_wrapped(table: "Dataset") -> None:
    """Warn where many lines end inside a sentence, as documents would then be pieces of sentences.

    A line does that if its last character is a letter, digit or comma and the next line begins with a small letter.
    """
    begins = np.flatnonzero(np.diff(table.data.column("document").to_numpy()))
    if len(begins) < FEW_LINES:
        return
    begins = begins[:: math.ceil(len(begins) / SAMPLED_SENTENCES)]
    lasts, firsts = (table.select(begins + step)["sentence"][:] for step in (0, 1))
    inside = sum(
        (last[-1].isalnum() or last[-1] in ",;") and first[0].islower()
        for last, first in zip(lasts, firsts, strict=True)
    )
    if inside > WRAPPED_SHARE * len(begins):
        warning(
            f"{inside / len(begins):.0%} of the lines end inside a sentence: with --document_unit line each is a "
            "document. For text that is wrapped choose --document_unit block (paragraphs) or file."
        )


def make_splits(text: Text, arguments: NspArguments, tokenizer: "PreTrainedTokenizerBase") -> Data:
    """Return the pairs of every split; no document gives pairs to two of them.

    The tokenizer is used only to measure its tokens in this text: segments are packed by length in bytes.

    Raises:
        UserError: too few documents, or text that gives no such pairs.
    """
    sample = _sample(text)
    tokenization.warn_if_unknown(sample, tokenizer)
    (text, members), policy = _parted(text, arguments), _policy(arguments, sample, tokenizer)
    if not policy.single:
        document_splits.check_sizes(text.sentences, members, arguments)
    tables = {name: _pairs(text, arguments, policy, name, members) for name in members}
    counts = ", ".join(f"{len(table):,} {name}" for name, table in tables.items())
    kind = "texts" if policy.single else "pairs"
    negatives = "" if policy.single else f", {arguments.negatives.replace('_', ' ')} negatives"
    say(f"{sum(map(len, tables.values())):,} {kind} ({counts}){negatives}")
    _say_what_is_left_out(tables, policy)
    splits = {name: _with_labels(table, name, text.sentences) for name, table in tables.items()}
    if policy.single:
        splits = {name: split.remove_columns("labels") for name, split in splits.items()}
    return Data(
        splits=splits,
        train="train",
        selection=SELECTION if SELECTION in splits else None,
        validation=("validation",) if "validation" in splits else (),
        test=("test",) if "test" in splits else (),
        schema=LabelSchema(SINGLE, CLASS_NAMES, {}),
        metrics=MLM_METRICS[:1] if arguments.objective == "mlm" else METRICS,
        mlm_metrics=() if arguments.objective == "nsp" else MLM_METRICS,
        origin=dict.fromkeys(splits, text.files[0].name if len(text.files) == 1 else f"{len(text.files)} files"),
        dropped={},
        read=functools.partial(pairs.pair_texts, text.sentences, single=policy.single),
    )


def fresh_pairs(
    text: Text, arguments: NspArguments, tokenizer: "PreTrainedTokenizerBase", epochs: int
) -> list["Dataset"]:
    """Return the training pairs of epochs after the first, each with other exchanges of second segments.

    The same rows in the same order as the training split, whose first segments they share; after FRESH_EPOCHS the
    first ones come again.
    """
    if not arguments.fresh_negatives or "nsp" not in arguments.objective:
        return []
    (text, members), policy = _parted(text, arguments), _policy(arguments, _sample(text), tokenizer)
    tables = (_pairs(text, arguments, policy, "train", members, epoch) for epoch in range(1, min(epochs, FRESH_EPOCHS)))
    return [_with_labels(table, "train", text.sentences) for table in tables]


def _say_what_is_left_out(tables: Mapping[str, "Dataset"], policy: pairs.Policy) -> None:
    """Say how many pairs or texts of each split are left out, and how many pairs have both labels."""
    for name, table in tables.items():
        counts = pairs.counts(table)
        if number := counts["in_train"]:
            forms = ("text", "texts") if policy.single else ("pair", "pairs")
            warning(f"{name}: left out because train has them too: {counted(number, *forms)}.")
        if counts["unmatched"] > 1:
            info(f"{name}: {counts['unmatched']:,} pairs found none to exchange second segments with and are left out.")
        if counts["both_labels"]:
            warning(f"{name}: {counts['both_labels']:,} NotNext pairs follow each other in the text.")


def _parted(text: Text, arguments: NspArguments) -> tuple[Text, dict[str, np.ndarray]]:
    """Return the text with the document numbers of each split; a single document is cut into several."""
    documents = pairs.count_documents(text.sentences)
    if not document_splits.is_split_in_parts(documents, arguments):
        return text, document_splits.split_documents(documents, arguments)
    table, members = document_splits.split_in_parts(text.sentences, arguments)
    return replace(text, sentences=table), members


def _policy(arguments: NspArguments, sample: list[str], tokenizer: "PreTrainedTokenizerBase") -> pairs.Policy:
    """Return how pairs are made, or the single texts of masked language modeling alone.

    Segments are packed to --max_seq_length in tokens of BYTES_PER_TOKEN bytes each.
    """
    tokens, _ = tokenization.count_tokens(sample, tokenizer)
    bytes_per_token = sum(len(sentence.encode()) for sentence in sample) / max(tokens, 1)
    target = max(1, round((arguments.max_seq_length - SPECIAL_TOKENS) * bytes_per_token / pairs.BYTES_PER_TOKEN))
    if arguments.objective == "mlm":
        return pairs.Policy("segments", "any", 0.0, arguments.short_seq_probability, target, single=True)
    return pairs.Policy(
        arguments.pairs, arguments.negatives, arguments.negative_fraction, arguments.short_seq_probability, target
    )


def _sample(text: Text) -> list[str]:
    """Return random sentences in order."""
    rows = np.random.default_rng(0).permutation(len(text.sentences))[:SAMPLED_SENTENCES]
    sample: list[str] = text.sentences.select(np.sort(rows))["sentence"][:]
    return sample


def _pairs(
    text: Text,
    arguments: NspArguments,
    policy: pairs.Policy,
    name: str,
    members: Mapping[str, np.ndarray],
    epoch: int = 0,
) -> "Dataset":
    """Return the pairs of one split's documents, at most as many as asked for, from the cache."""
    options: dict[str, Any] = {
        "seed": arguments.split_seed,
        "epoch": epoch,
        "documents": members[name],
        "train_documents": None if name == "train" else members["train"],
        "limit": arguments.max_train_samples if name == "train" else arguments.max_eval_samples,
    }
    return _cached(
        text.folder / f"pairs-{Hasher.hash([policy, options, document_splits.fractions_of(arguments)])}.arrow",
        arguments.overwrite_cache,
        text.started,
        functools.partial(pairs.make_pairs, text.sentences, policy=policy, **options, name=f"The {name} split"),
    )


def _with_labels(table: "Dataset", name: str, sentences: "Dataset") -> "Dataset":
    """Return a table of pairs with the columns of a split: `labels`, and where it is not trained on, three more.

    They are `source`, `idx`, and the number of the document that the first segment is from.
    """
    table = table.rename_column("label", "labels")
    if name == "train":
        return table
    negative_types = [pairs.NEGATIVE_TYPES[code] for code in table["negative_type"][:]]
    documents = sentences.data.column("document").to_numpy()[table[pairs.RANGES[0]][:]]
    for column, values in (("source", negative_types), ("idx", np.arange(len(table))), ("document", documents)):
        table = table.add_column(column, values)
    return table
