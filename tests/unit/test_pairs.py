"""Pairs: what follows is marked so, what does not comes from where it should, and a seed fixes everything."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bertlab.errors import UserError
from bertlab.pretraining.pairs import (
    BYTES_PER_TOKEN,
    IS_NEXT,
    NEGATIVE_TYPES,
    NOT_NEXT,
    RANGES,
    Columns,
    Corpus,
    count_documents,
    make_pairs,
    neighbours,
    one_per_document,
    pair_texts,
    segment_pairs,
    sentence_pairs,
    split_documents,
)
from bertlab.pretraining.sentences import write_sentences

# A corpus as the texts of its sentences, each a number; few numbers, so that texts come again and again.
corpora = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=7)
seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0, 1)
scopes = st.sampled_from(["other_document", "same_document"])
PAIR_POLICIES = ("all", "one_per_document", "segments")
NEGATIVES = NEGATIVE_TYPES[1:]


def corpus_of(documents: Sequence[Sequence[int]]) -> Corpus:
    numbers = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    return Corpus.of(numbers, np.array([text for document in documents for text in document], np.uint64))


def rows(columns: Columns) -> list[tuple[int, ...]]:
    return list(zip(*(columns[name].tolist() for name in (*RANGES, "label", "negative_type")), strict=True))


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def allowed(corpus: Corpus, first: int, scope: str) -> list[int]:
    """Return, one by one, the sentences that a scope allows after `first`: the definition, not the method."""
    ruled_out = {corpus.text_hash[first], corpus.text_hash[first + 1]}
    same = scope == "same_document"
    return [
        other
        for other in range(len(corpus.document))
        if (corpus.document[other] == corpus.document[first]) == same and corpus.text_hash[other] not in ruled_out
    ]


class TestSentencePairs:
    @settings(deadline=None)
    @given(documents=corpora, fraction=fractions, scope=scopes, seed=seeds)
    def test_second_sentences_are_next_or_allowed_and_the_share_is_exact(
        self, documents: list[list[int]], fraction: float, scope: str, seed: int
    ) -> None:
        corpus = corpus_of(documents)
        first = neighbours(corpus)
        able = sum(bool(allowed(corpus, start, scope)) for start in first)
        count = round(fraction * len(first))
        rng = np.random.default_rng(seed)
        if count > able:
            message = refusal(sentence_pairs, corpus, first, scope, fraction, rng)
            assert message.startswith(
                f"The text: {count} of {len(first)} pairs are to be NotNext, "
                f"but only {able} have a second sentence that {scope} allows. Choose --negatives "
            )
            return
        pairs = rows(sentence_pairs(corpus, first, scope, fraction, rng))
        assert [pair[0] for pair in pairs] == first.tolist()
        assert sum(pair[4] for pair in pairs) == count
        for start, stop, second, end, label, kind in pairs:
            assert (stop, end) == (start + 1, second + 1)
            if label == IS_NEXT:
                assert (second, kind) == (start + 1, NEGATIVE_TYPES.index("next"))
                assert corpus.document[second] == corpus.document[start]
            else:
                assert second in allowed(corpus, start, scope)
                assert NEGATIVE_TYPES[kind] == scope

    @settings(max_examples=20, deadline=None)
    @given(documents=corpora, scope=scopes)
    def test_everything_allowed_is_drawn_equally_often(self, documents: list[list[int]], scope: str) -> None:
        corpus = corpus_of(documents)
        first = neighbours(corpus)
        choices = allowed(corpus, first[0], scope) if len(first) else []
        assume(choices)
        repeated = np.repeat(first[:1], 400 * len(choices))
        columns = sentence_pairs(corpus, repeated, scope, 1.0, np.random.default_rng(0))
        counts = Counter(columns["second_start"].tolist())
        assert sorted(counts) == choices
        # Six standard deviations of a count with mean 400.
        assert all(abs(count - 400) < 120 for count in counts.values())

    def test_any_is_a_bag_of_every_sentence_even_the_true_next(self) -> None:
        corpus = corpus_of([[1, 2], [3]])
        columns = sentence_pairs(corpus, np.zeros(300, int), "any", 1.0, np.random.default_rng(0))
        assert set(columns["second_start"].tolist()) == {0, 1, 2}
        assert set(columns["label"].tolist()) == {NOT_NEXT}

    def test_the_true_next_sentence_said_elsewhere_is_no_negative(self) -> None:
        corpus = corpus_of([[1, 2], [2, 3]])
        columns = sentence_pairs(corpus, np.zeros(50, int), "other_document", 1.0, np.random.default_rng(0))
        assert set(columns["second_start"].tolist()) == {3}

    def test_the_one_sentence_that_is_allowed_is_found_among_many_that_are_not(self) -> None:
        corpus = corpus_of([[1, 2], [2] * 1000 + [3]])
        columns = sentence_pairs(corpus, np.zeros(9, int), "other_document", 1.0, np.random.default_rng(0))
        assert set(columns["second_start"].tolist()) == {1002}

    def test_many_sentences_at_once(self) -> None:
        size = 200_000
        rng = np.random.default_rng(0)
        documents = np.sort(rng.integers(0, 1000, size))
        corpus = Corpus.of(documents, rng.integers(0, size // 2, size).astype(np.uint64))
        first = neighbours(corpus)
        columns = sentence_pairs(corpus, first, "other_document", 0.5, rng)
        wrong = columns["label"] == NOT_NEXT
        second = columns["second_start"][wrong]
        assert wrong.sum() == round(len(first) / 2)
        assert (corpus.document[first[wrong]] != corpus.document[second]).all()
        assert (corpus.text_hash[first[wrong] + 1] != corpus.text_hash[second]).all()


class TestFirstSentences:
    @settings(deadline=None)
    @given(documents=corpora)
    def test_neighbours_are_all_sentences_but_the_last_of_a_document(self, documents: list[list[int]]) -> None:
        corpus = corpus_of(documents)
        lasts = set((corpus.offsets[1:] - 1).tolist())
        assert neighbours(corpus).tolist() == [i for i in range(len(corpus.document)) if i not in lasts]

    @settings(deadline=None)
    @given(documents=corpora, seed=seeds)
    def test_one_per_document_leaves_out_documents_of_one(self, documents: list[list[int]], seed: int) -> None:
        corpus = corpus_of(documents)
        first = one_per_document(corpus, np.random.default_rng(seed))
        assert corpus.document[first].tolist() == [i for i, size in enumerate(corpus.sizes) if size >= 2]
        assert set(first.tolist()) <= set(neighbours(corpus).tolist())

    def test_documents_may_have_any_rising_numbers(self) -> None:
        corpus = Corpus.of(np.array([3, 3, 7, 9], np.int32), np.arange(4, dtype=np.uint64))
        assert corpus.document.tolist() == [0, 0, 1, 2]
        assert corpus.offsets.tolist() == [0, 2, 3, 4]


class TestSegmentPairs:
    @staticmethod
    def pairs(corpus: Corpus, scope: str = "other_document", fraction: float = 0.5, seed: int = 0, **change: float):
        given = {"target": 100.0, "short_probability": 0.1, **change}
        lengths = 10 + corpus.text_hash.astype(np.int64) % 30
        return segment_pairs(
            corpus,
            lengths,
            given["target"],
            scope,
            fraction,
            given["short_probability"],
            np.random.default_rng(seed),
        )

    @settings(deadline=None)
    @given(documents=corpora, fraction=fractions, scope=st.sampled_from(NEGATIVES), seed=seeds)
    def test_both_segments_are_runs_of_one_document_that_do_not_overlap(
        self, documents: list[list[int]], fraction: float, scope: str, seed: int
    ) -> None:
        assume(len(documents) > 1)
        corpus = corpus_of(documents)
        for start, stop, second, end, label, kind in rows(self.pairs(corpus, scope, fraction, seed)):
            assert start < stop
            assert second < end
            home, away = corpus.document[start], corpus.document[second]
            assert (corpus.document[start:stop] == home).all()
            assert (corpus.document[second:end] == away).all()
            if label == IS_NEXT:
                assert (second, kind) == (stop, 0)
                assert home == away
                continue
            assert NEGATIVE_TYPES[kind] == scope
            follows = stop < len(corpus.document) and corpus.document[stop] == home
            if scope != "any":
                assert (home != away) == (scope == "other_document")
                assert end <= start or second >= stop
                assert not follows or corpus.text_hash[second] != corpus.text_hash[stop]

    @settings(deadline=None)
    @given(documents=corpora, seed=seeds)
    def test_with_other_documents_every_sentence_is_in_one_first_or_true_second_segment(
        self, documents: list[list[int]], seed: int
    ) -> None:
        # Texts that differ, so that every chunk finds a negative and none is left out.
        assume(len(documents) > 1)
        corpus = corpus_of(documents)
        corpus = Corpus(corpus.document, corpus.offsets, np.arange(len(corpus.document), dtype=np.uint64))
        used: list[int] = []
        for start, stop, second, end, label, _ in rows(self.pairs(corpus, seed=seed)):
            used += range(start, stop)
            used += range(second, end) if label == IS_NEXT else ()
        assert used == list(range(len(corpus.document)))

    def test_lengths_are_near_the_target_or_short_at_the_given_rate(self) -> None:
        rng = np.random.default_rng(0)
        corpus = Corpus.of(np.arange(20_000) // 1000, rng.integers(0, 2**60, 20_000).astype(np.uint64))
        lengths = 10 + corpus.text_hash.astype(np.int64) % 30
        before = np.concatenate([[0], np.cumsum(lengths)])
        for short in (0.0, 0.5):
            found = self.pairs(corpus, target=400.0, short_probability=short)
            size = sum(before[found[f"{part}_stop"]] - before[found[f"{part}_start"]] for part in ("first", "second"))
            # A chunk goes past the target by less than a sentence, a negative by less than two; the last
            # chunk of a document may be shorter.
            assert size.max() < 400 + 2 * 40
            share = (size < 400).mean()
            assert share < 0.05 if short == 0 else 0.35 < share < 0.55
            assert 0.47 < found["label"].mean() < 0.60

    def test_a_chunk_of_one_sentence_is_a_negative_and_is_left_out_where_none_is_wanted(self) -> None:
        corpus = corpus_of([[1], [2], [3]])
        assert self.pairs(corpus)["label"].tolist() == [NOT_NEXT] * 3
        assert len(self.pairs(corpus, fraction=0.0)["label"]) == 0

    def test_a_document_of_one_sentence_has_nothing_of_its_own_to_follow(self) -> None:
        corpus = corpus_of([[1], [2, 3, 4]])
        found = rows(self.pairs(corpus, "same_document", 1.0))
        assert found
        assert all(row[0] > 0 for row in found)


class TestSplitDocuments:
    @settings(deadline=None)
    @given(
        count=st.integers(1, 300),
        parts=st.fixed_dictionaries({name: st.floats(0, 0.5) for name in ("validation", "selection", "test")}),
        seed=seeds,
    )
    def test_every_document_is_in_exactly_one_split(self, count: int, parts: dict[str, float], seed: int) -> None:
        sizes = {name: max(1, round(part * count)) if part else 0 for name, part in parts.items()}
        assume(sum(sizes.values()) < count)
        splits = split_documents(count, parts, seed)
        assert list(splits) == ["train", *parts]
        assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(count))
        assert {name: len(splits[name]) for name in parts} == sizes
        again = split_documents(count, parts, seed)
        assert all((splits[name] == again[name]).all() for name in splits)

    def test_without_fractions_all_is_for_training(self) -> None:
        assert split_documents(3, {}, 0)["train"].tolist() == [0, 1, 2]

    def test_too_few_documents(self) -> None:
        message = refusal(split_documents, 2, {"validation": 0.1, "selection": 0.0, "test": 0.1}, 0)
        assert message == (
            "The number of documents is 2, and with 1 for validation, 1 for test none is left for training. "
            "Lower the fractions, or choose a smaller --document_unit (line or block)."
        )


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve documents of five sentences, and one of one."""
    folder = tmp_path_factory.mktemp("sentences")
    lines = [" ".join(f"This is {word} of {i}." for word in "abcde") for i in range(12)]
    (folder / "text.txt").write_text("\n".join([*lines, "Alone."]), encoding="utf-8")
    return write_sentences([folder / "text.txt"], "line", "sentencex", "en", None, folder / "text.arrow")


class TestMakePairs:
    @pytest.mark.parametrize("policy", PAIR_POLICIES)
    @pytest.mark.parametrize("negatives", NEGATIVES)
    def test_the_table_and_its_texts(self, sentences: Dataset, tmp_path: Path, policy: str, negatives: str) -> None:
        table = make_pairs(sentences, tmp_path / "a.arrow", pairs=policy, negatives=negatives, target_tokens=10)
        types = {name: feature.dtype for name, feature in table.features.items()}
        assert types == {**dict.fromkeys(RANGES, "int32"), "label": "int8", "negative_type": "int8"}
        assert table.cache_files == [{"filename": str(tmp_path / "a.arrow")}]
        first, second = pair_texts(sentences, table[:])
        text, document = sentences["sentence"][:], sentences["document"][:]
        for row, a, b in zip(table, first, second, strict=True):
            assert a == " ".join(text[row["first_start"] : row["first_stop"]])
            assert b == " ".join(text[row["second_start"] : row["second_stop"]])
            assert row["negative_type"] == (NEGATIVE_TYPES.index(negatives) if row["label"] else 0)
            if row["label"] == IS_NEXT:
                assert row["second_start"] == row["first_stop"]
                assert document[row["first_start"]] == document[row["second_start"]]

    @pytest.mark.parametrize(("policy", "count"), [("all", 48), ("one_per_document", 12)])
    def test_half_are_negatives(self, sentences: Dataset, tmp_path: Path, policy: str, count: int) -> None:
        table = make_pairs(sentences, tmp_path / "a.arrow", pairs=policy)
        assert (len(table), sum(table["label"])) == (count, count // 2)

    @pytest.mark.parametrize("policy", PAIR_POLICIES)
    def test_a_split_uses_nothing_of_another(self, sentences: Dataset, tmp_path: Path, policy: str) -> None:
        splits = split_documents(count_documents(sentences), {"validation": 0.3, "test": 0.2}, seed=1)
        document = np.array(sentences["document"][:])
        for name, numbers in splits.items():
            table = make_pairs(sentences, tmp_path / f"{name}.arrow", pairs=policy, documents=numbers, target_tokens=9)
            assert len(table)
            used = [
                document[i]
                for row in table
                for part in ("first", "second")
                for i in range(row[f"{part}_start"], row[f"{part}_stop"])
            ]
            assert set(used) <= set(numbers.tolist())

    @pytest.mark.parametrize("policy", PAIR_POLICIES)
    def test_the_seed_decides(self, sentences: Dataset, tmp_path: Path, policy: str) -> None:
        tables = [
            make_pairs(sentences, tmp_path / f"{i}.arrow", pairs=policy, seed=seed, target_tokens=20).to_dict()
            for i, seed in enumerate((3, 3, 4))
        ]
        assert tables[0] == tables[1]
        assert tables[0] != tables[2]

    @pytest.mark.launch
    def test_another_process_with_another_hash_seed_makes_the_same_pairs(
        self, sentences: Dataset, tmp_path: Path
    ) -> None:
        expected = make_pairs(sentences, tmp_path / "here.arrow", pairs="segments", seed=5).to_dict()
        code = (
            "import json, sys; from pathlib import Path; from datasets import Dataset\n"
            "from bertlab.pretraining.pairs import make_pairs\n"
            "sentences = Dataset.from_file(sys.argv[1])\n"
            "print(json.dumps(make_pairs(sentences, Path(sys.argv[2]), pairs='segments', seed=5).to_dict()))"
        )
        command = [sys.executable, "-c", code, sentences.cache_files[0]["filename"], str(tmp_path / "there.arrow")]
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        assert json.loads(done.stdout) == expected

    def test_the_target_is_counted_in_bytes(self, sentences: Dataset, tmp_path: Path) -> None:
        # A sentence has 15 or 16 bytes, so two of them are the first to reach 6 tokens of 4.3 bytes.
        assert 16 < 6 * BYTES_PER_TOKEN < 30
        chosen = {"pairs": "segments", "target_tokens": 6, "short_probability": 0.0}
        table = make_pairs(sentences, tmp_path / "a.arrow", seed=2, **chosen)
        assert {row["second_stop"] - row["first_start"] for row in table if row["label"] == IS_NEXT} == {2}

    def test_texts_come_from_any_number_of_chunks_in_the_order_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bertlab.pretraining.sentences._BATCH_SENTENCES", 2)
        path = tmp_path / "text.txt"
        path.write_text("\n".join(f"s{i}" for i in range(11)), encoding="utf-8")
        table = write_sentences([path], "file", "line", "en", None, tmp_path / "text.arrow")
        assert table.data.column("sentence").num_chunks == 1
        path.write_text("\n\n".join(f"s{i}" for i in range(11)), encoding="utf-8")
        table = write_sentences([path], "block", "line", "en", None, tmp_path / "text.arrow")
        assert table.data.column("sentence").num_chunks == 6
        batch = dict(zip(RANGES, ([9, 0, 9], [10, 1, 10], [4, 8, 0], [7, 9, 2]), strict=True))
        assert pair_texts(table, batch) == (["s9", "s0", "s9"], ["s4 s5 s6", "s8", "s0 s1"])

    def test_one_document_and_negatives_from_others(self, sentences: Dataset, tmp_path: Path) -> None:
        for policy in PAIR_POLICIES:
            message = refusal(
                make_pairs, sentences, tmp_path / "a", pairs=policy, documents=np.array([3]), name="The test split"
            )
            assert message == (
                "The test split is one document, so no sentence can come from another. "
                "Choose --negatives same_document, a smaller --document_unit (line or block), or other fractions."
            )
        table = make_pairs(sentences, tmp_path / "a", documents=np.array([3]), negatives="same_document")
        assert len(table) == 4
        assert len(make_pairs(sentences, tmp_path / "a", documents=np.array([3]), negative_fraction=0.0)) == 4

    def test_documents_too_short_for_negatives_of_their_own(self, tmp_path: Path) -> None:
        path = tmp_path / "text.txt"
        path.write_text("a. b.\nc. d.\n", encoding="utf-8")
        table = write_sentences([path], "line", "period", "en", None, tmp_path / "text.arrow")
        message = refusal(make_pairs, table, tmp_path / "a", negatives="same_document")
        assert message == (
            "The text: 1 of 2 pairs are to be NotNext, but only 0 have a second sentence that same_document allows. "
            "Choose --negatives other_document, a larger --document_unit or a lower --negative_fraction."
        )

    @pytest.mark.parametrize("policy", ["all", "one_per_document"])
    def test_documents_of_one_sentence(self, tmp_path: Path, policy: str) -> None:
        path = tmp_path / "text.txt"
        path.write_text("a\nb\nc\n", encoding="utf-8")
        table = write_sentences([path], "line", "line", "en", None, tmp_path / "text.arrow")
        assert refusal(make_pairs, table, tmp_path / "a", pairs=policy) == (
            "The text has no document of two or more sentences. "
            "Choose a larger --document_unit (block or file), or another --sentence_splitter."
        )
        message = refusal(make_pairs, table, tmp_path / "a", pairs="segments", negatives="same_document")
        assert message == "The text gives no pair. Give more text, or choose other --pairs or --negatives."


def test_the_meditations_have_317_pairs_of_the_tutorial(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "meditations" / "clean.txt"
    if not path.exists():
        pytest.skip("BERTLAB_DATA has no meditations/clean.txt")
    table = write_sentences([path], "line", "period", "en", None, tmp_path / "text.arrow")
    found = make_pairs(table, tmp_path / "pairs.arrow", pairs="one_per_document", negatives="any")
    assert len(found) == 317
    assert sum(found["label"]) == 158
