"""From --text to the splits of an NSP run: documents, sentences, pairs, each document in one split only."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import config as datasets_config
from datasets.fingerprint import Hasher

from bertlab import __version__
from bertlab.cli.arguments import NspArguments
from bertlab.console import is_first_process, say, warning
from bertlab.data import cache
from bertlab.data.dataset import SELECTION, Data
from bertlab.data.files import file_digest
from bertlab.data.labels import SINGLE, LabelSchema
from bertlab.pretraining import pairs, sentences

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
# So few lines may end inside a sentence by chance.
FEW_LINES = 10
# In the prose of 27 wrapped books 28 to 88 % of the lines end inside a sentence, where a line is a paragraph 0.2 %.
WRAPPED_SHARE = 0.25
# Of the files in the cache: what an earlier version wrote with other columns is not read.
CACHE_FORMAT = 2
# Makes one number of the hashes of two sentences, another for the other order; odd, so that no bit of one is lost.
ORDER = np.uint64(0x9E3779B97F4A7C15)


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
    files = sentences.find_text_files(arguments.text)
    settings = (arguments.document_unit, arguments.sentence_splitter, arguments.language, arguments.encoding)
    key = Hasher.hash([[file_digest(path) for path in files], settings, __version__, CACHE_FORMAT])
    folder = Path(cache_dir or datasets_config.HF_DATASETS_CACHE) / "bertlab-nsp" / key
    table = _cached(
        folder / "sentences.arrow",
        arguments.overwrite_cache,
        started,
        functools.partial(sentences.write_sentences, files, *settings),
    )
    documents = pairs.count_documents(table)
    say(f"{_count(len(files), 'file')}, {_count(documents, 'document')}, {len(table):,} sentences")
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

    The tokenizer is used only to measure how long its tokens are in this text: segments are packed by length in bytes.

    Raises:
        UserError: too few documents, or text that gives no such pairs.
    """
    fractions = {name: getattr(arguments, f"{name}_fraction") for name in ("validation", SELECTION, "test")}
    members = pairs.split_documents(pairs.count_documents(text.sentences), fractions, arguments.split_seed)
    target = _target_tokens(text, arguments, tokenizer)
    splits = {name: _split(text, arguments, name, chosen, target) for name, chosen in members.items() if len(chosen)}
    counts = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
    say(f"{sum(map(len, splits.values())):,} pairs ({counts}), {arguments.negatives.replace('_', ' ')} negatives")
    if arguments.objective != "mlm":
        _warn_if_one_class(splits, arguments.pairs)

    def texts(rows: pairs.Batch) -> list[list[str]]:
        return list(pairs.pair_texts(text.sentences, rows))

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
        read=texts,
    )


def _warn_if_one_class(splits: Mapping[str, "Dataset"], policy: str) -> None:
    """Warn of splits whose pairs are of one class, from which nothing is learned and every answer is right."""
    for name, split in splits.items():
        labels = np.unique(split.with_format("arrow")[:]["labels"])
        if len(labels) == 1:
            packed = ": no two sentences fit into --max_seq_length" if policy == "segments" else ""
            hint = "Raise it, or choose --pairs all." if packed else "Give more text, or allow more pairs."
            warning(f"{name}: all pairs are {CLASS_NAMES[labels[0]]}{packed}. {hint}")


def warn_of_repeats(text: Text, data: Data) -> None:
    """Warn of held-out pairs that are trained on too, where documents repeat one another.

    Counted are IsNext pairs whose last sentence of A and first of B, by their texts, also follow each other inside an
    IsNext pair of train. Only the first process looks for them.
    """
    if data.train is None or not is_first_process():
        return
    hashes = text.sentences.data.column("text_hash").to_numpy()
    start, _, _, stop = _follow(data.splits[data.train])
    # Sentence k and the next stand in one pair where more pairs have begun up to k than have come to their last one.
    begun = np.bincount(start, minlength=len(hashes)) - np.bincount(stop - 1, minlength=len(hashes))
    trained = _two_texts(hashes, np.flatnonzero(np.cumsum(begun) > 0))
    for name, split in data.splits.items():
        if name == data.train:
            continue
        last = _follow(split)[1] - 1
        repeated = last[np.isin(_two_texts(hashes, last), trained)]
        if len(repeated):
            example = " | ".join(text.sentences[int(repeated[0]) : int(repeated[0]) + 2]["sentence"])
            warning(
                f"{name}: {len(repeated)} of {len(last)} IsNext pairs also follow each other in {data.train}, for "
                f"example {example if len(example) <= 60 else example[:59] + '…'!r}. Leave out what the text repeats."
            )


def _follow(split: "Dataset") -> list[np.ndarray]:
    """Return the four RANGES of the IsNext pairs of a split."""
    rows = split.with_format("arrow")[:]
    follow = rows["labels"].to_numpy() == pairs.IS_NEXT
    return [rows[name].to_numpy()[follow] for name in pairs.RANGES]


def _two_texts(hashes: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return a hash of each of the sentences `first` (n,) with the one after it."""
    return np.asarray(hashes[first] * ORDER + hashes[first + 1])


def _target_tokens(text: Text, arguments: NspArguments, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the length that segments are packed to, in tokens of BYTES_PER_TOKEN bytes each."""
    target = arguments.max_seq_length - SPECIAL_TOKENS
    if arguments.pairs != "segments":
        return target
    rows = np.random.default_rng(0).permutation(len(text.sentences))[:SAMPLED_SENTENCES]
    sample = text.sentences.select(np.sort(rows))["sentence"][:]
    tokens = sum(len(ids) for ids in tokenizer(sample, add_special_tokens=False, verbose=False)["input_ids"])
    bytes_per_token = sum(len(sentence.encode()) for sentence in sample) / max(tokens, 1)
    return max(1, round(target * bytes_per_token / pairs.BYTES_PER_TOKEN))


def _split(text: Text, arguments: NspArguments, name: str, documents: np.ndarray, target: int) -> "Dataset":
    """Return the pairs of one split's documents, at most as many as asked for, chosen at random."""
    policy: dict[str, Any] = {
        "pairs": arguments.pairs,
        "negatives": arguments.negatives,
        "negative_fraction": arguments.negative_fraction,
        "short_probability": arguments.short_seq_probability,
        "target_tokens": target,
        "documents": documents,
        "seed": arguments.split_seed,
    }
    table = _cached(
        text.folder / f"pairs-{Hasher.hash(policy)}.arrow",
        arguments.overwrite_cache,
        text.started,
        functools.partial(pairs.make_pairs, text.sentences, **policy, name=f"The {name} split"),
    )
    limit = arguments.max_train_samples if name == "train" else arguments.max_eval_samples
    if limit is not None and limit < len(table):
        # With the seed alone this would be the permutation that chose the negatives, and the part all of one class.
        rows = np.random.default_rng([arguments.split_seed, 1]).permutation(len(table))[:limit]
        table = table.select(np.sort(rows))
    table = table.rename_column("label", "labels")
    if name == "train":
        return table
    negative_types = [pairs.NEGATIVE_TYPES[code] for code in table["negative_type"][:]]
    return table.add_column("source", negative_types).add_column("idx", np.arange(len(table)))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"
