"""From sentences to next-sentence prediction (NSP) pairs: which two runs of sentences are a pair, and its label.

A pair is two ranges of sentence numbers, never text, so a gigabyte of text gives a table of about 100 MB. The
functions work on whole arrays and depend on nothing but their arguments and the seed.
"""

import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bertlab.errors import UserError
from bertlab.pretraining.sentences import arrow_stream

if TYPE_CHECKING:
    from datasets import Dataset

IS_NEXT, NOT_NEXT = 0, 1
# The values of the column `negative_type` are places in this tuple.
NEGATIVE_TYPES = ("next", "other_document", "same_document", "any")
RANGES = ("first_start", "first_stop", "second_start", "second_stop")

# UTF-8 bytes in a token of bert-base-uncased: 4.24 in Gutenberg's books, 4.48 in the Meditations, 3 in
# Chinese. Bytes are lengths that every script has, and Arrow knows them without reading the text.
BYTES_PER_TOKEN = 4.3

_TRIES = 100
_ROWS_AT_ONCE = 1 << 20

Columns = dict[str, np.ndarray]
Batch = Mapping[str, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class Corpus:
    """Sentences in order, counted from 0, in documents counted from 0.

    `document` (n,) is the number of a sentence's document, `offsets` (documents + 1,) where the documents
    begin and the last one ends, `text_hash` (n,) uint64 is equal for sentences of equal text.
    """

    document: np.ndarray
    offsets: np.ndarray
    text_hash: np.ndarray

    @classmethod
    def of(cls, documents: np.ndarray, text_hash: np.ndarray) -> "Corpus":
        """Return the corpus of sentences with these document numbers (n,), never falling, and hashes (n,)."""
        begins = np.flatnonzero(np.diff(documents, prepend=-1))
        offsets = np.append(begins, len(documents))
        return cls(np.repeat(np.arange(len(begins), dtype=np.int32), np.diff(offsets)), offsets, text_hash)

    @cached_property
    def sizes(self) -> np.ndarray:
        """The number of sentences of each document."""
        return np.diff(self.offsets)


def make_pairs(
    sentences: "Dataset",
    arrow_path: Path,
    *,
    pairs: str = "all",
    negatives: str = "other_document",
    negative_fraction: float = 0.5,
    seed: int = 0,
    documents: np.ndarray | None = None,
    target_tokens: int = 125,
    short_probability: float = 0.1,
    name: str = "The text",
) -> "Dataset":
    """Write the pairs of a table of sentences to an Arrow file and return it, memory-mapped, as a Dataset.

    `sentences` is what `write_sentences` returns. Only the sentences of `documents` (their numbers; by default all)
    are used, for negatives too. `name` names them in errors. One row a pair: the RANGES (int32; a start and the
    number after the last), `label` (int8, 0 = IsNext, 1 = NotNext) and `negative_type` (int8, a place in
    NEGATIVE_TYPES). The same seed gives the same rows.

    `all` makes a pair from every two neighbours, `one_per_document` from two at random in each document of two or
    more sentences; of these, round(negative_fraction * n) are NotNext. `segments` is described at `segment_pairs`,
    with a length of `target_tokens` * BYTES_PER_TOKEN bytes. Where negatives come from: at `sentence_pairs`.

    Raises:
        UserError: the text does not give such pairs.
    """
    from datasets import Dataset

    document, text_hash = (sentences.data.column(column).to_numpy() for column in ("document", "text_hash"))
    members = np.arange(len(document)) if documents is None else np.flatnonzero(np.isin(document, documents))
    members = members.astype(np.int32)
    corpus = Corpus.of(document[members], text_hash[members])
    _check_corpus(corpus, pairs, negatives, negative_fraction, name)
    rng = np.random.default_rng(seed)
    if pairs == "segments":
        # The gaps in Arrow's offsets, so that no text is read.
        lengths = pc.binary_length(sentences.data.column("sentence")).to_numpy()[members]
        target = target_tokens * BYTES_PER_TOKEN
        columns = segment_pairs(corpus, lengths, target, negatives, negative_fraction, short_probability, rng)
    else:
        first = neighbours(corpus) if pairs == "all" else one_per_document(corpus, rng)
        columns = sentence_pairs(corpus, first, negatives, negative_fraction, rng, name)
    if not len(columns["label"]):
        raise UserError(f"{name} gives no pair.", "Give more text, or choose other --pairs or --negatives.")
    table = pa.table(_renumbered(columns, members))
    with arrow_stream(arrow_path, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_AT_ONCE)
    return Dataset.from_file(str(arrow_path))


def count_documents(sentences: "Dataset") -> int:
    """Return how many documents a table of sentences, as `write_sentences` returns it, has."""
    return int(sentences.data.column("document")[-1].as_py()) + 1


def split_documents(n_documents: int, fractions: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """Return the document numbers of each named split and of `train`, which gets the rest.

    Every document is in exactly one split. A split has round(fraction * n_documents) documents, at least one when its
    fraction is above 0 and none when it is 0; its numbers (k,) are sorted.

    Raises:
        UserError: nothing would be left for training.
    """
    counts = {name: max(1, round(part * n_documents)) if part else 0 for name, part in fractions.items()}
    if sum(counts.values()) >= n_documents:
        held_out = ", ".join(f"{count} for {name}" for name, count in counts.items() if count)
        raise UserError(
            f"The number of documents is {n_documents}, and with {held_out} none is left for training.",
            "Lower the fractions, or choose a smaller --document_unit (line or block).",
        )
    order = np.random.default_rng(seed).permutation(n_documents)
    *parts, rest = np.split(order, np.cumsum(list(counts.values()), dtype=int))
    return {"train": np.sort(rest), **{name: np.sort(part) for name, part in zip(counts, parts, strict=True)}}


def neighbours(corpus: Corpus) -> np.ndarray:
    """Return the numbers (n,) of all sentences that another one follows in the same document."""
    followed = np.flatnonzero(corpus.document[1:] == corpus.document[:-1])
    return followed.astype(corpus.document.dtype)


def one_per_document(corpus: Corpus, rng: np.random.Generator) -> np.ndarray:
    """Return a random sentence that another one follows, (n,), for each document of two or more sentences.

    Source: the next-sentence tutorial of jamescalam/transformers (one pair from each paragraph).
    """
    sizes = corpus.sizes
    long_enough = sizes >= 2
    return corpus.offsets[:-1][long_enough] + rng.integers(sizes[long_enough] - 1)


def sentence_pairs(
    corpus: Corpus,
    first: np.ndarray,
    negatives: str,
    negative_fraction: float,
    rng: np.random.Generator,
    name: str = "The text",
) -> Columns:
    """Return a pair of single sentences for each number in `first` (n,), as columns (n,).

    Exactly round(negative_fraction * n) pairs, a random choice, are NotNext. Their second sentence is uniform over
    those that `negatives` allows: `other_document` and `same_document` never give a sentence with the text of the
    first or of the true next one; `any` is the tutorial's bag of all sentences, the true next one included. A first
    sentence for which nothing is allowed (a document of two, with `same_document`) is always IsNext.

    Raises:
        UserError: too few pairs have a sentence that is allowed.
    """
    label = np.full(len(first), IS_NEXT, np.int8)
    count = round(negative_fraction * len(first))
    able = np.flatnonzero(_has_second(corpus, first, negatives)) if count else first[:0]
    if count > len(able):
        raise UserError(
            f"{name}: {count} of {len(first)} pairs are to be NotNext, but only {len(able)} have a second "
            f"sentence that {negatives} allows.",
            _other_way(negatives),
        )
    chosen = rng.permutation(able)[:count]
    label[chosen] = NOT_NEXT
    second = first + 1
    second[chosen] = _draw_seconds(corpus, first[chosen], negatives, rng)
    return _columns((first, first + 1, second, second + 1), label, negatives)


def segment_pairs(
    corpus: Corpus,
    lengths: np.ndarray,
    target: float,
    negatives: str,
    negative_fraction: float,
    short_probability: float,
    rng: np.random.Generator,
) -> Columns:
    """Return pairs of runs of sentences, packed to a length, as columns (n,).

    `lengths` (sentences,) and `target` have the same unit. Each document is cut into chunks of sentences that
    reach the target or, with `short_probability`, a shorter one drawn evenly. A chunk is parted at random: A,
    and the rest. With the chance `negative_fraction`, and always for a chunk of one sentence, B is a run from
    elsewhere, the pair is NotNext and the rest goes back to be used next; otherwise B is the rest, and the
    pair is IsNext. So the share of NotNext is above the fraction where documents or targets are short. Nothing is
    truncated: tokenization cuts the end of the longer side.

    A run from elsewhere begins with neither the text nor the number of the true next sentence and stays in
    one document: with `other_document` a random other one; with `same_document` the same, clear of A; with
    `any` wherever a random sentence stands, with no condition at all. Where 100 draws find none, the chunk is
    IsNext, or left out if it has one sentence; with the fraction 0 every chunk of one sentence is left out.

    Source: `create_instances_from_document` in google-research/bert, create_pretraining_data.py. It counts tokens,
    draws the target once for a whole document, takes B from the same document where ten draws find no other, and
    cuts the longer side at its beginning or its end, by chance.
    """
    from datasets.utils import tqdm

    packer = _Packer(corpus, lengths, negatives, random.Random(int(rng.integers(2**62))))
    rows = array("i")
    for document in tqdm(range(len(corpus.sizes)), desc="Pairs", unit=" documents", unit_scale=True):
        for row in packer.pairs(document, target, negative_fraction, short_probability):
            rows.extend(row)
    *ranges, label = np.frombuffer(rows, np.int32).reshape(-1, 5).T
    return _columns(ranges, label.astype(np.int8), negatives)


def pair_texts(sentences: "Dataset", batch: Batch) -> tuple[list[str], list[str]]:
    """Return the first and second texts of a batch of pairs, the sentences of a range joined by a space.

    `sentences` is what `write_sentences` returns, `batch` has the columns RANGES.
    """
    starts, stops, second_starts, second_stops = (np.asarray(batch[name]) for name in RANGES)
    return _range_texts(sentences, starts, stops), _range_texts(sentences, second_starts, second_stops)


def _columns(ranges: Sequence[np.ndarray], label: np.ndarray, negatives: str) -> Columns:
    """Return the columns of pairs with these RANGES and labels, all (n,)."""
    negative_type = np.where(label == NOT_NEXT, NEGATIVE_TYPES.index(negatives), 0).astype(np.int8)
    return {**dict(zip(RANGES, ranges, strict=True)), "label": label, "negative_type": negative_type}


class _Packer:
    """The loop over chunks, which depends on its own draws and so cannot be done on whole arrays.

    Memory views give Python integers without a list of them: 30 ns a look, where an array takes 100.
    """

    def __init__(self, corpus: Corpus, lengths: np.ndarray, negatives: str, draw: random.Random) -> None:
        self.offsets = np.ascontiguousarray(corpus.offsets, np.int64).data
        self.hashes = np.ascontiguousarray(corpus.text_hash, np.uint64).data
        # before[k] is the length of all sentences before sentence k.
        self.before = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).data
        self.negatives = negatives
        self.random = draw.random

    def pairs(
        self, document: int, target: float, fraction: float, short: float
    ) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the pairs of a document: the four RANGES and the label."""
        start, stop = self.offsets[document], self.offsets[document + 1]
        while start < stop:
            goal = target * self.random() if self.random() < short else target
            end = self._reach(start, goal, stop)
            middle = start + 1 + int(self.random() * (end - start - 1))
            single = end - start == 1
            run = None
            if (single and fraction) or self.random() < fraction:
                run = self._elsewhere(document, start, middle, goal)
            if run:
                yield start, middle, *run, NOT_NEXT
                start = middle
                continue
            if not single:
                yield start, middle, middle, end, IS_NEXT
            start = end

    def _reach(self, start: int, length: float, stop: int) -> int:
        """Return the end of the shortest run from `start` that has the length, at most `stop`."""
        return bisect_left(self.before, self.before[start] + length, start + 1, stop)

    def _elsewhere(self, document: int, start: int, middle: int, goal: float) -> tuple[int, int] | None:
        """Return a run to follow sentences `start` to `middle` that does not follow them, or None."""
        space = goal - (self.before[middle] - self.before[start])
        true_next = self.hashes[middle] if middle < self.offsets[document + 1] else None
        for _ in range(_TRIES):
            at, stop = self._place(document, start, middle)
            if self.negatives == "any" or (at < stop and self.hashes[at] != true_next):
                return at, self._reach(at, space, stop)
        return None

    def _place(self, document: int, start: int, middle: int) -> tuple[int, int]:
        """Return a random sentence and where a run from it must end; equal when it is not allowed."""
        documents = len(self.offsets) - 1
        if self.negatives == "any":
            at = int(self.random() * self.offsets[documents])
            return at, self.offsets[bisect_right(self.offsets, at)]
        if self.negatives == "other_document":
            other = int(self.random() * (documents - 1))
            document = other + (other >= document)
        begin, stop = self.offsets[document], self.offsets[document + 1]
        at = begin + int(self.random() * (stop - begin))
        if self.negatives == "other_document" or at > middle:
            return at, stop
        return at, start if at < start else at


def _draw_seconds(corpus: Corpus, first: np.ndarray, negatives: str, rng: np.random.Generator) -> np.ndarray:
    """Return a uniform draw (n,) from the sentences that `negatives` allows after each of `first` (n,)."""
    if negatives == "any":
        return rng.integers(len(corpus.document), size=len(first))
    propose = _from_others if negatives == "other_document" else _from_same
    hashes = corpus.text_hash
    second = np.empty_like(first)
    rest = np.arange(len(first))
    while len(rest):
        at = first[rest]
        second[rest] = draw = propose(corpus, at, rng)
        rest = rest[(hashes[draw] == hashes[at + 1]) | (hashes[draw] == hashes[at])]
    return second


def _from_others(corpus: Corpus, first: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random sentence from the other documents for each of `first`."""
    document = corpus.document[first]
    begin, size = corpus.offsets[document], corpus.sizes[document]
    drawn = rng.integers(len(corpus.document) - size)
    # Numbers from the document's begin on stand for the sentences after it.
    return np.asarray(drawn + np.where(drawn >= begin, size, 0))


def _from_same(corpus: Corpus, first: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random sentence from the same document for each of `first`."""
    document = corpus.document[first]
    return np.asarray(corpus.offsets[document] + rng.integers(corpus.sizes[document]))


def _has_second(corpus: Corpus, first: np.ndarray, negatives: str) -> np.ndarray:
    """Return for each of `first` (n,) whether `negatives` allows any sentence as its second."""
    if negatives == "any":
        return np.ones(len(first), bool)
    size = corpus.sizes[corpus.document[first]]
    text, _ = pd.factorize(corpus.text_hash)
    # One number for a text in a document: both factors are below 2**31, so it fits.
    text_in_document, _ = pd.factorize(corpus.document.astype(np.int64) * (text.max() + 1) + text)
    inside = np.bincount(text_in_document)[text_in_document]
    same = negatives == "same_document"
    room, ruled_out = (size, inside) if same else (len(text) - size, np.bincount(text)[text] - inside)
    return np.asarray(room > ruled_out[first] + np.where(text[first] == text[first + 1], 0, ruled_out[first + 1]))


def _range_texts(sentences: "Dataset", starts: np.ndarray, stops: np.ndarray) -> list[str]:
    sizes = stops - starts
    ends = np.cumsum(sizes)
    rows = np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
    # pyarrow's own take would first join all chunks of the column, which are the whole text, into one.
    texts = sentences.data.fast_gather(rows).column("sentence").to_pylist()
    return [" ".join(texts[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def _renumbered(columns: Columns, members: np.ndarray) -> Columns:
    """Return the columns with sentence numbers of the whole table for those of the corpus."""
    whole = dict(columns)
    for part in ("first", "second"):
        whole[f"{part}_start"] = members[columns[f"{part}_start"]]
        # By the last sentence of a range: the one after it may be in another split, or none.
        whole[f"{part}_stop"] = members[columns[f"{part}_stop"] - 1] + 1
    return whole


def _check_corpus(corpus: Corpus, pairs: str, negatives: str, fraction: float, name: str) -> None:
    """Raise UserError when no document has two sentences, or none is there to draw negatives from."""
    if fraction and negatives == "other_document" and len(corpus.sizes) < 2:
        problem = f"{name} is one document, so no sentence can come from another."
        raise UserError(problem, _other_way(negatives))
    if pairs != "segments" and corpus.sizes.max(initial=0) < 2:
        raise UserError(
            f"{name} has no document of two or more sentences.",
            "Choose a larger --document_unit (block or file), or another --sentence_splitter.",
        )


def _other_way(negatives: str) -> str:
    if negatives == "other_document":
        return "Choose --negatives same_document, a smaller --document_unit (line or block), or other fractions."
    return "Choose --negatives other_document, a larger --document_unit or a lower --negative_fraction."
