"""From sentences to next-sentence prediction (NSP) pairs: which two runs of sentences are a pair, and its label.

A pair is two ranges of sentence numbers, never text, so a gigabyte of text gives a table of about 100 MB. The
functions work on whole arrays and depend on nothing but their arguments and the seed.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from bertlab.errors import UserError
from bertlab.pretraining import negatives
from bertlab.pretraining.negatives import MIDDLE, START, STOP, Corpus
from bertlab.pretraining.sentences import arrow_stream

if TYPE_CHECKING:
    from datasets import Dataset

IS_NEXT, NOT_NEXT = 0, 1
# The values of the column `negative_type` are places in this tuple.
NEGATIVE_TYPES = ("next", "other_document", "same_document", "any")
RANGES = ("first_start", "first_stop", "second_start", "second_stop")
# The metadata of a table of pairs: pairs left out because they are in train too, or without a partner;
# NotNext pairs whose texts follow each other.
COUNTS = ("in_train", "unmatched", "both_labels")

# UTF-8 bytes in a token of bert-base-uncased: 4.24 in Gutenberg's books, 4.48 in the Meditations, 3 in
# Chinese. Bytes are lengths that every script has, and Arrow knows them without reading the text.
BYTES_PER_TOKEN = 4.3

_ROWS_AT_ONCE = 1 << 20

Batch = Mapping[str, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class Policy:
    """What makes pairs of text: the flags of run_nsp.py, and `target_tokens` of BYTES_PER_TOKEN bytes each.

    `all` makes a pair from every two neighbours, `one_per_document` from two at random in each document of two or
    more sentences, `segments` from runs of sentences as described at `segments`. With `single` a run is not parted: it
    is the first segment, and the second is empty.
    """

    pairs: str = "all"
    negatives: str = "other_document"
    negative_fraction: float = 0.5
    short_probability: float = 0.1
    target_tokens: int = 125
    single: bool = False


def make_pairs(
    sentences: "Dataset",
    arrow_path: Path,
    policy: Policy,
    *,
    seed: int = 0,
    epoch: int = 0,
    documents: np.ndarray | None = None,
    train_documents: np.ndarray | None = None,
    limit: int | None = None,
    name: str = "The text",
) -> "Dataset":
    """Write the pairs of a table of sentences to an Arrow file and return it, memory-mapped, as a Dataset.

    `sentences` is what `write_sentences` returns. Only the sentences of `documents` (their numbers; by default all)
    are used, for negatives too, and no pair that also follows in `train_documents`, or single text of which they have
    every sentence. `limit` pairs at most are chosen at random. `name` names them in errors. One row a pair: the RANGES
    (int32; a start and the number after the last), `label` (int8, 0 = IsNext, 1 = NotNext) and `negative_type` (int8, a
    place in NEGATIVE_TYPES). The same seed gives the same rows; another `epoch` the same pairs with other exchanges.

    Every pair starts as text that follows; round(negative_fraction * couples) couples exchange their second segments,
    as `negatives.match` says.

    Raises:
        UserError: the text does not give such pairs.
    """
    from datasets import Dataset

    corpus = Corpus.of_table(sentences)
    chosen = np.unique(corpus.document) if documents is None else documents
    rng = np.random.default_rng(seed)
    pairs = following_pairs(corpus, chosen, policy, rng)
    pairs, in_train = _not_in_train(corpus, pairs, train_documents, policy, name)
    if limit is not None and limit < len(pairs):
        pairs = pairs[np.sort(rng.permutation(len(pairs))[:limit])]
    kept, partner = _exchanged(corpus, pairs, policy, rng, seed, epoch)
    if not len(kept):
        raise UserError(
            f"{name} gives no pair: no two of {len(pairs):,} can exchange their second segments with --negatives "
            f"{policy.negatives}.",
            f"{_other_way(policy)} Where the same texts come again and again, --negatives any takes them.",
        )
    first, second, not_next = pairs[kept], pairs[partner], kept != partner
    both_labels = _both_labels(corpus, first[not_next], second[not_next])
    told = dict(zip(COUNTS, map(str, (in_train, len(pairs) - len(kept), both_labels)), strict=True))
    table = _table(first, second, not_next, policy).replace_schema_metadata(told)
    with arrow_stream(arrow_path, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_AT_ONCE)
    return Dataset.from_file(str(arrow_path))


def counts(table: "Dataset") -> dict[str, int]:
    """Return the COUNTS of a table of pairs."""
    # From the file: the schema that `datasets` keeps in memory is its own.
    metadata = pa.ipc.open_stream(table.cache_files[0]["filename"]).schema.metadata
    return {name: int(metadata[name.encode()]) for name in COUNTS}


def count_documents(sentences: "Dataset") -> int:
    """Return how many documents a table of sentences, as `write_sentences` returns it, has."""
    return int(sentences.data.column("document")[-1].as_py()) + 1


def following_pairs(corpus: Corpus, documents: np.ndarray, policy: Policy, rng: np.random.Generator) -> np.ndarray:
    """Return the pairs of these documents as text that follows: (n, 3) int32, START, MIDDLE and STOP of each."""
    if policy.pairs == "segments":
        return segments(corpus, documents, policy, Random(int(rng.integers(2**62))))
    if policy.pairs == "all":
        first = corpus.followed[np.isin(corpus.document[corpus.followed], documents)]
    else:
        first = one_per_document(corpus, documents, rng)
    return np.column_stack([first, first + 1, first + 2]).astype(np.int32)


def one_per_document(corpus: Corpus, documents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random sentence that another one follows, (n,), for each document of two or more sentences.

    Source: the next-sentence tutorial of jamescalam/transformers (one pair from each paragraph).
    """
    begins, sizes = corpus.offsets[documents], np.diff(corpus.offsets)[documents]
    return np.asarray(begins[sizes >= 2] + rng.integers(sizes[sizes >= 2] - 1))


def segments(corpus: Corpus, documents: np.ndarray, policy: Policy, draw: Random) -> np.ndarray:
    """Return pairs of runs of sentences, packed to a length in bytes: (n, 3), as `following_pairs` does.

    Each document is cut into chunks of two sentences or more that reach the target or, with the short probability, a
    shorter one drawn evenly. A chunk is parted at random: the first segment, and the second. A single sentence at the
    end of a document is left out. Nothing is truncated: tokenization cuts the end of the longer side.

    Source: `create_instances_from_document` in google-research/bert, create_pretraining_data.py. It counts tokens,
    draws the target once for a whole document, and takes single sentences too, always as NotNext.
    """
    from datasets.utils import tqdm

    # Memory views give Python integers without a list of them: 30 ns a look, where an array takes 100.
    before, offsets = corpus.before.data, np.ascontiguousarray(corpus.offsets, np.int64).data
    rows = array("i")
    for document in tqdm(documents, desc="Pairs", unit=" documents", unit_scale=True):
        for chunk in _chunks(before, offsets[document], offsets[document + 1], policy, draw):
            rows.extend(chunk)
    return np.frombuffer(rows, np.int32).reshape(-1, 3)


def _chunks(
    before: Sequence[int], start: int, stop: int, policy: Policy, draw: Random
) -> Iterator[tuple[int, int, int]]:
    least, target = 1 if policy.single else 2, policy.target_tokens * BYTES_PER_TOKEN
    while start + least <= stop:
        goal = target * draw.random() if draw.random() < policy.short_probability else target
        end = bisect_left(before, before[start] + goal, start + least, stop)
        if policy.single:  # nothing of it is to be truncated, where sentences fit
            end -= before[end] - before[start] > goal and end > start + 1
            yield start, end, end
        else:
            yield start, start + 1 + int(draw.random() * (end - start - 1)), end
        start = end


def pair_texts(sentences: "Dataset", batch: Batch, single: bool = False) -> list[list[str]]:
    """Return the first and second texts of a batch of pairs, or its `single` ones, sentences joined by a space.

    `sentences` is what `write_sentences` returns, `batch` has the columns RANGES.
    """
    ranges = [np.asarray(batch[name]) for name in RANGES[: 2 if single else 4]]
    return [_range_texts(sentences, *ranges[at : at + 2]) for at in range(0, len(ranges), 2)]


def _range_texts(sentences: "Dataset", starts: np.ndarray, stops: np.ndarray) -> list[str]:
    sizes = stops - starts
    ends = np.cumsum(sizes)
    rows = np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
    # pyarrow's own take would first join all chunks of the column, which are the whole text, into one.
    texts = sentences.data.fast_gather(rows).column("sentence").to_pylist()
    return [" ".join(texts[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def _not_in_train(
    corpus: Corpus, pairs: np.ndarray, train_documents: np.ndarray | None, policy: Policy, name: str
) -> tuple[np.ndarray, int]:
    """Return the pairs, or single texts, without those that are in train too, and how many these are."""
    if train_documents is None:
        return pairs, 0
    is_train = np.isin(corpus.document, train_documents)
    if policy.single:
        is_new = ~negatives.is_in(corpus.text_hash, np.unique(corpus.text_hash[is_train]))
        new_before = np.append(0, np.cumsum(is_new))
        repeated = new_before[pairs[:, START]] == new_before[pairs[:, STOP]]
    else:
        in_train = corpus.hashes_of(corpus.followed[is_train[corpus.followed]])
        repeated = negatives.is_in(corpus.two_texts(pairs[:, MIDDLE] - 1, pairs[:, MIDDLE]), in_train)
    if len(pairs) and repeated.all():
        what = "texts are in train too" if policy.single else "pairs also follow each other in train"
        raise UserError(f"{name}: all of its {len(pairs):,} {what}.", "Leave out what the text repeats.")
    return pairs[~repeated], int(repeated.sum())


def _exchanged(
    corpus: Corpus, pairs: np.ndarray, policy: Policy, rng: np.random.Generator, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return, each (n,), the rows of the pairs that are kept, and the rows whose second segments they get."""
    if not policy.negative_fraction:
        rows = np.arange(len(pairs))
        return rows, rows
    draw = np.random.default_rng([seed, epoch])
    couples = negatives.match(corpus, pairs, policy.negatives, policy.pairs == "segments", rng)
    if epoch:
        couples = negatives.rematch(corpus, pairs, couples, policy.negatives, draw)
    # With `any` an odd pair at most has no partner, and it stays as it is.
    kept = np.arange(len(pairs)) if policy.negatives == "any" else np.sort(couples.rows.reshape(-1))
    return kept, negatives.exchange(couples, len(pairs), policy.negative_fraction, draw)[kept]


def _table(first: np.ndarray, second: np.ndarray, not_next: np.ndarray, policy: Policy) -> pa.Table:
    """Return the rows of pairs whose first and second segments are those of these pairs, each (n, 3)."""
    ranges = (first[:, START], first[:, MIDDLE], second[:, MIDDLE], second[:, STOP])
    columns = dict(zip(RANGES, (part.astype(np.int32) for part in ranges), strict=True))
    columns["label"] = np.where(not_next, NOT_NEXT, IS_NEXT).astype(np.int8)
    columns["negative_type"] = np.where(not_next, NEGATIVE_TYPES.index(policy.negatives), 0).astype(np.int8)
    return pa.table(columns)


def _both_labels(corpus: Corpus, first: np.ndarray, second: np.ndarray) -> int:
    """Return how many of the NotNext pairs made of these first and second segments follow each other somewhere."""
    meets = corpus.two_texts(first[:, MIDDLE] - 1, second[:, MIDDLE])
    return int(negatives.is_in(meets, corpus.following_texts).sum())


def _other_way(policy: Policy) -> str:
    if policy.negatives == "other_document":
        return "Choose --negatives same_document, or give more text."
    other = "--negatives other_document" if policy.pairs == "all" else "--pairs all"
    return f"Choose {other}, or give more text."
