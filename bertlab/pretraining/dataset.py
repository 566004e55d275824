"""From --text to the splits of a next-sentence run: documents, sentences, pairs, each document in one split only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
# What masked words are judged by. The first leads where they are trained alone and nobody looks at labels.
MLM_METRICS = ("masked_accuracy", "perplexity")
# [CLS] A [SEP] B [SEP]
SPECIAL_TOKENS = 3
# Enough to know the mean length of a token within one per cent.
SAMPLED_SENTENCES = 2_000
# So few lines may end inside a sentence by chance.
FEW_LINES = 10
# In the prose of 27 wrapped books 28 to 88 % of the lines end inside a sentence, where a line is a paragraph 0.2 %.
WRAPPED_SHARE = 0.25
# Makes one number of the hashes of two sentences, another for the other order; odd, so that no bit of one is lost.
ORDER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Text:
    """The sentences of a run on disk, and the key of everything that made them what they are."""

    sentences: "Dataset"
    files: list[Path]
    key: str
    folder: Path
    started: float = math.inf


def read(arguments: NspArguments, cache_dir: str | None, started: float = math.inf) -> Text:
    """Return the sentences of --text, written once per machine to an Arrow file in the cache.

    `started` is when this run began: --overwrite_cache writes again what is older.

    Raises:
        UserError: no text, no file, not text, or one sentence only.
    """
    files = sentences.find_text_files(arguments.text)
    settings = (arguments.document_unit, arguments.sentence_splitter, arguments.language, arguments.encoding)
    key = Hasher.hash([[file_digest(path) for path in files], settings, __version__])
    folder = Path(cache_dir or datasets_config.HF_DATASETS_CACHE) / "bertlab-nsp" / key
    path = folder / "sentences.arrow"
    with cache.folder_lock(folder):
        if cache.is_fresh(path, arguments.overwrite_cache, started):
            found = _open(path)
        else:
            unit, splitter, language, encoding = settings
            found = sentences.write_sentences(files, unit, splitter, language, encoding, path)
    documents = pairs.count_documents(found)
    say(f"{_count(len(files), 'file')}, {_count(documents, 'document')}, {len(found):,} sentences")
    if arguments.document_unit == "line":
        _say_if_wrapped(found)
    return Text(found, files, key, folder, started)


def _say_if_wrapped(found: "Dataset") -> None:
    """Say so where many lines end inside a sentence, as documents would then be pieces of sentences.

    A line does that if its last character is a letter, digit or comma and the next line begins with a small letter.
    """
    begins = np.flatnonzero(np.diff(found.data.column("document").to_numpy()))
    if len(begins) < FEW_LINES:
        return
    begins = begins[:: math.ceil(len(begins) / SAMPLED_SENTENCES)]
    lasts, firsts = (found.select(begins + step)["sentence"][:] for step in (0, 1))
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

    The tokenizer only tells how long its tokens are in this text: segments are packed by length in bytes.

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
        _say_if_one_class(splits, arguments.pairs)

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


def _say_if_one_class(splits: Mapping[str, "Dataset"], policy: str) -> None:
    """Say which splits have pairs of one class alone, of which nothing is learnt and every answer is right."""
    for name, split in splits.items():
        labels = np.unique(split.with_format("arrow")[:]["labels"])
        if len(labels) == 1:
            packed = ": --max_seq_length holds no two sentences" if policy == "segments" else ""
            hint = "Raise it, or choose --pairs all." if packed else "Give more text, or allow more pairs."
            warning(f"{name}: all pairs are {CLASS_NAMES[labels[0]]}{packed}. {hint}")


def say_what_is_repeated(text: Text, data: Data) -> None:
    """Say how many pairs of each held-out split are trained on too, where documents repeat one another.

    Counted are IsNext pairs whose last sentence of A and first of B, by their texts, also follow each other inside
    an IsNext pair of train. Only the first process looks for it.
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
    return hashes[first] * ORDER + hashes[first + 1]


def _target_tokens(text: Text, arguments: NspArguments, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the length that segments are packed to, in tokens of BYTES_PER_TOKEN bytes each."""
    wanted = arguments.max_seq_length - SPECIAL_TOKENS
    if arguments.pairs != "segments":
        return wanted
    rows = np.random.default_rng(0).permutation(len(text.sentences))[:SAMPLED_SENTENCES]
    sample = text.sentences.select(np.sort(rows))["sentence"][:]
    tokens = sum(len(ids) for ids in tokenizer(sample, add_special_tokens=False, verbose=False)["input_ids"])
    bytes_per_token = sum(len(sentence.encode()) for sentence in sample) / max(tokens, 1)
    return max(1, round(wanted * bytes_per_token / pairs.BYTES_PER_TOKEN))


def _split(text: Text, arguments: NspArguments, name: str, documents: np.ndarray, target: int) -> "Dataset":
    """Return the pairs of one split's documents, at most as many as asked for, chosen at random."""
    policy = (arguments.pairs, arguments.negatives, arguments.negative_fraction, arguments.short_seq_probability)
    key = Hasher.hash([policy, target, documents, arguments.split_seed])
    path = text.folder / f"pairs-{key}.arrow"
    with cache.folder_lock(text.folder):
        if cache.is_fresh(path, arguments.overwrite_cache, text.started):
            found = _open(path)
        else:
            found = pairs.make_pairs(
                text.sentences,
                path,
                pairs=arguments.pairs,
                negatives=arguments.negatives,
                negative_fraction=arguments.negative_fraction,
                seed=arguments.split_seed,
                documents=documents,
                target_tokens=target,
                short_probability=arguments.short_seq_probability,
                name=f"The {name} split",
            )
    most = arguments.max_train_samples if name == "train" else arguments.max_eval_samples
    if most is not None and most < len(found):
        # With the seed alone this would be the permutation that chose the negatives, and the part all of one class.
        rows = np.random.default_rng([arguments.split_seed, 1]).permutation(len(found))[:most]
        found = found.select(np.sort(rows))
    found = found.rename_column("label", "labels")
    if name == "train":
        return found
    kinds = [pairs.NEGATIVE_KINDS[code] for code in found["negative_kind"][:]]
    return found.add_column("source", kinds).add_column("idx", np.arange(len(found)))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _open(path: Path) -> "Dataset":
    from datasets import Dataset

    return Dataset.from_file(str(path))
