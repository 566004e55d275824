"""Which pairs become NotNext: text that follows, whose second segments are exchanged two by two.

Every pair starts as text that follows. Two pairs that are alike in place and length are a couple, and some couples
exchange their second segments. So the first segments of IsNext and NotNext pairs are the same in distribution, and
the second ones too: a classifier that reads one segment alone, or counts words, has nothing to tell them by.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

if TYPE_CHECKING:
    from datasets import Dataset

# A pair as text that follows: (n, 3) sentence numbers where the first segment, the second and what is after it begin.
START, MIDDLE, STOP = range(3)
# Makes one number of the hashes of two sentences, another for the other order; odd, so that no bit of one is lost.
ORDER = np.uint64(0x9E3779B97F4A7C15)
# Second segments at this place of a document or later count as alike; the first ones have a style of their own.
PLACES = 4
# How many couples of one place and nearly one length exchange partners at random.
BLOCK, PACKED_BLOCK = 16, 2
# Rounds of exchanging partners, then of doing so among more and more couples until all are allowed.
MIXING_ROUNDS, REPAIR_ROUNDS = 4, 32

Check = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Corpus:
    """Sentences in order, counted from 0, in documents counted from 0.

    `document` (n,) is the number of a sentence's document, never falling; `text_hash` (n,) uint64 is equal for
    sentences of equal text; `lengths` (n,) are in bytes.
    """

    document: np.ndarray
    text_hash: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of_table(cls, sentences: "Dataset") -> "Corpus":
        """Return the corpus of a table of sentences, as `write_sentences` returns it, without reading its text."""
        document, text_hash = (sentences.data.column(name).to_numpy() for name in ("document", "text_hash"))
        return cls(document, text_hash, pc.binary_length(sentences.data.column("sentence")).to_numpy())

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each document begins, and where the last one ends: (documents + 1,)."""
        return np.append(np.flatnonzero(np.diff(self.document, prepend=-1)), len(self.document))

    @cached_property
    def before(self) -> np.ndarray:
        """The length of all sentences before a sentence, and of all: (n + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    @cached_property
    def followed(self) -> np.ndarray:
        """The numbers of all sentences that another one follows in the same document."""
        return np.flatnonzero(self.document[1:] == self.document[:-1]).astype(np.int32)

    @cached_property
    def following_texts(self) -> np.ndarray:
        """The hashes of all two texts that follow each other anywhere, sorted."""
        return self.hashes_of(self.followed)

    def hashes_of(self, first: np.ndarray) -> np.ndarray:
        """Return the sorted hashes of the texts of these sentences with the ones after them."""
        return np.unique(self.two_texts(first, first + 1))

    def two_texts(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return a hash (n,) of the texts of two sentences in this order."""
        return np.asarray(self.text_hash[first] * ORDER + self.text_hash[second])


def is_in(values: np.ndarray, sorted_values: np.ndarray) -> np.ndarray:
    """Return for each value whether it is among those sorted; np.isin would sort both again."""
    if not len(sorted_values):
        return np.zeros(len(values), bool)
    places = np.searchsorted(sorted_values, values)
    return np.asarray(sorted_values[np.minimum(places, len(sorted_values) - 1)] == values)


@dataclass(frozen=True)
class Couples:
    """Pairs two by two, (n, 2) row numbers of `pairs`, in blocks (n,) of those that are alike."""

    rows: np.ndarray
    block: np.ndarray


def match(corpus: Corpus, pairs: np.ndarray, scope: str, packed: bool, rng: np.random.Generator) -> Couples:
    """Return couples of pairs (n, 3) that may exchange their second segments; a pair without a partner is in none.

    By `scope` partners are from the `same_document`, or from `other_document`s with seconds of the same place and
    nearly the same length; neither exchange may give two texts that follow each other anywhere in the corpus, or that
    are equal. With `any` seconds are as alike and there is no other condition. Where segments are `packed` to a length,
    the two of a pair would tell by their sum, so lengths are matched closely.
    """
    check, same_document = _check(corpus, pairs, scope), scope == "same_document"
    middle, stop = pairs[:, MIDDLE], pairs[:, STOP]
    document = corpus.document[pairs[:, START]]
    # Sentences of one document are no negatives of their neighbours, so partners are half a document apart.
    apart = same_document and not packed
    group = document if same_document else np.minimum(middle - corpus.offsets[document], PLACES)
    order = np.lexsort(
        (rng.random(len(pairs)), middle if apart else corpus.before[stop] - corpus.before[middle], group)
    )
    couples = _couples(order, group[order], apart, PACKED_BLOCK if packed else BLOCK)
    rows, good = couples.rows, check(couples.rows)
    for _ in range(MIXING_ROUNDS):
        _mix(rows, good, couples.block, rng, check)
    for step in range(0 if same_document else REPAIR_ROUNDS):
        if good.all():
            break
        _mix(rows, good, couples.block >> step, rng, check, repair=True)
    return Couples(rows[good], couples.block[good])


def rematch(corpus: Corpus, pairs: np.ndarray, couples: Couples, scope: str, rng: np.random.Generator) -> Couples:
    """Return other couples of the same pairs, each as good as the ones given."""
    rows, good = couples.rows.copy(), np.ones(len(couples.rows), bool)
    for _ in range(MIXING_ROUNDS):
        _mix(rows, good, couples.block, rng, _check(corpus, pairs, scope))
    return Couples(rows, couples.block)


def exchange(couples: Couples, n_pairs: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Return for each of the pairs the one whose second segment it gets, (n_pairs,): mostly itself.

    round(fraction * couples) couples exchange, as evenly spread over the blocks as can be.
    """
    order = np.lexsort((rng.random(len(couples.rows)), couples.block))
    chosen = np.diff(np.floor(np.arange(len(order) + 1) * fraction + 0.5)) > 0
    first, second = couples.rows[order[chosen]].T
    partner = np.arange(n_pairs)
    partner[first], partner[second] = second, first
    return partner


def _couples(order: np.ndarray, group: np.ndarray, apart: bool, size: int) -> Couples:
    """Return couples within each group of an order (n,), neighbours or half a group `apart`, then of the odd ones.

    A block is the whole of a group, or `size` couples of it that stand together; the last is that of the odd ones.
    """
    _, begins, counts = np.unique(group, return_index=True, return_counts=True)
    half = counts // 2
    of_group = np.repeat(np.arange(len(half)), half)
    rank = np.arange(half.sum()) - np.repeat(np.cumsum(half) - half, half)
    first = begins[of_group] + rank * (1 if apart else 2)
    second = first + (counts - half)[of_group] if apart else first + 1
    odd = (begins + (half if apart else counts - 1))[counts % 2 == 1]
    joined = odd[: len(odd) // 2 * 2].reshape(-1, 2)
    block = of_group * len(order) + (0 if apart else rank // size)
    # Numbered without gaps, so that halving the numbers joins neighbours.
    _, block = np.unique(np.append(block, np.full(len(joined), len(order) ** 2)), return_inverse=True)
    return Couples(order[np.vstack([np.column_stack([first, second]), joined])], block)


def _check(corpus: Corpus, pairs: np.ndarray, scope: str) -> Check:
    """Return the function from couples (n, 2) to whether their exchange gives two negatives, (n,)."""

    def check(rows: np.ndarray) -> np.ndarray:
        one, two = pairs[rows[:, 0]], pairs[rows[:, 1]]
        if scope == "any":
            return np.ones(len(rows), bool)
        same = corpus.document[one[:, START]] == corpus.document[two[:, START]]
        fits = same == (scope == "same_document")
        return np.asarray(fits & _is_negative(corpus, one, two) & _is_negative(corpus, two, one))

    return check


def _is_negative(corpus: Corpus, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return whether the first segments of `one` may stand before the second segments of `two`."""
    first, second = one[:, START], two[:, MIDDLE]
    follows = is_in(corpus.two_texts(one[:, MIDDLE] - 1, second), corpus.following_texts)
    return np.asarray(~follows & (corpus.text_hash[first] != corpus.text_hash[second]))


def _mix(
    rows: np.ndarray,
    good: np.ndarray,
    block: np.ndarray,
    rng: np.random.Generator,
    check: Check,
    repair: bool = False,
) -> None:
    """Let every two couples of a block, taken at random, exchange partners, unless that makes one of them bad.

    With `repair` only those do that become better by it. `rows` and `good` are changed in place.
    """
    turned = rng.random(len(rows)) < 0.5
    rows[turned] = rows[turned, ::-1]
    order = np.lexsort((rng.random(len(rows)), block))
    one, two = order[: len(order) // 2 * 2].reshape(-1, 2).T
    alike = block[one] == block[two]
    if repair:
        alike &= ~(good[one] & good[two])
    one, two = one[alike], two[alike]
    new_one = np.column_stack([rows[one, 0], rows[two, 1]])
    new_two = np.column_stack([rows[two, 0], rows[one, 1]])
    good_one, good_two = check(new_one), check(new_two)
    before, after = good[one].astype(int) + good[two], good_one.astype(int) + good_two
    better = (after > before) | ((after == 2) & (not repair))
    rows[one[better]], rows[two[better]] = new_one[better], new_two[better]
    good[one[better]], good[two[better]] = good_one[better], good_two[better]
