"""Pairs: what follows is marked so, what does not comes from where it should, and a seed fixes everything."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from running import refusal

from bertlab.cli.arguments import NspArguments
from bertlab.errors import UserError
from bertlab.pretraining import negatives
from bertlab.pretraining.document_splits import is_split_in_parts, split_documents, split_in_parts
from bertlab.pretraining.negatives import MIDDLE, START, STOP, Corpus
from bertlab.pretraining.pairs import (
    BYTES_PER_TOKEN,
    IS_NEXT,
    NEGATIVE_TYPES,
    RANGES,
    Policy,
    count_documents,
    counts,
    following_pairs,
    make_pairs,
    one_per_document,
    pair_texts,
    segments,
)
from bertlab.pretraining.sentences import write_sentences

# A corpus as the texts of its sentences, each a number; few numbers, so that texts come again and again.
corpora = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=7)
seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0, 1)
PAIR_POLICIES = ("all", "one_per_document", "segments")
NEGATIVES = NEGATIVE_TYPES[1:]


def corpus_of(documents: Sequence[Sequence[int]]) -> Corpus:
    numbers = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    texts = np.array([text for document in documents for text in document], np.uint64)
    return Corpus(numbers, texts, 10 + texts.astype(np.int64) % 30)


def held_out(seed: int = 0, negatives: str = "same_document", **fractions: float) -> NspArguments:
    """Return the flags that hold out these fractions."""
    parts = {f"{name}_fraction": fractions.get(name, 0.0) for name in ("validation", "selection", "test")}
    return NspArguments(split_seed=seed, negatives=negatives, **parts)


def all_pairs(corpus: Corpus) -> np.ndarray:
    return following_pairs(corpus, np.arange(len(corpus.offsets) - 1), Policy(), np.random.default_rng(0))


def follows(corpus: Corpus) -> set[tuple[int, int]]:
    """Return the texts that follow each other, found one by one."""
    return {
        (int(corpus.text_hash[k]), int(corpus.text_hash[k + 1]))
        for k in range(len(corpus.document) - 1)
        if corpus.document[k] == corpus.document[k + 1]
    }


class TestCouples:
    @settings(deadline=None)
    @given(documents=corpora, scope=st.sampled_from(NEGATIVES), packed=st.booleans(), seed=seeds)
    def test_partners_may_exchange_their_seconds(
        self, documents: list[list[int]], scope: str, packed: bool, seed: int
    ) -> None:
        corpus = corpus_of(documents)
        pairs, following = all_pairs(corpus), follows(corpus)
        rng = np.random.default_rng(seed)
        couples = negatives.match(corpus, pairs, scope, packed, rng)
        again = negatives.rematch(corpus, pairs, couples, scope, rng)
        assert sorted(again.rows.ravel()) == sorted(couples.rows.ravel())
        for rows in (couples.rows, again.rows):
            assert len(set(rows.ravel().tolist())) == rows.size
            for one, two in [*rows, *rows[:, ::-1]] if scope != "any" else ():
                first, second = pairs[one][START], pairs[two][MIDDLE]
                assert (corpus.document[first] == corpus.document[second]) == (scope == "same_document")
                texts = int(corpus.text_hash[first]), int(corpus.text_hash[second])
                assert texts not in following
                assert texts[0] != texts[1]

    def test_seconds_are_alike_in_place_and_length(self) -> None:
        dice = random.Random(0)
        corpus = corpus_of([[dice.randrange(10**9) for _ in range(dice.randint(2, 9))] for _ in range(2000)])
        pairs = all_pairs(corpus)
        couples = negatives.match(corpus, pairs, "other_document", False, np.random.default_rng(0)).rows
        assert couples.size > 0.99 * len(pairs)
        middle = pairs[couples][:, :, MIDDLE]
        place = np.minimum(middle - corpus.offsets[corpus.document[middle]], negatives.PLACES)
        assert (place[:, 0] == place[:, 1]).mean() > 0.99
        assert abs(corpus.lengths[middle[:, 0]] - corpus.lengths[middle[:, 1]]).mean() < 0.5, "of 10 to 39"

    def test_within_a_document_all_but_the_middle_pair_find_a_partner(self) -> None:
        for sizes, paired in (((2,), 0), ((3,), 0), ((4,), 2), ((5,), 4), ((6, 9), 12)):
            corpus = corpus_of([[100 * size + k for k in range(size)] for size in sizes])
            couples = negatives.match(corpus, all_pairs(corpus), "same_document", False, np.random.default_rng(0))
            assert couples.rows.size == paired, sizes

    @settings(deadline=None)
    @given(count=st.integers(0, 60), fraction=fractions, seed=seeds)
    def test_the_fraction_of_couples_that_exchange_is_exact_and_spread_over_blocks(
        self, count: int, fraction: float, seed: int
    ) -> None:
        block = np.arange(count) // 8
        couples = negatives.Couples(np.arange(2 * count).reshape(-1, 2), block)
        partner = negatives.exchange(couples, 2 * count, fraction, np.random.default_rng(seed))
        assert (partner[partner] == np.arange(2 * count)).all()
        exchanged = partner[::2] != np.arange(0, 2 * count, 2)
        assert abs(exchanged.sum() - fraction * count) <= 0.5 + 1e-9
        for part in range(count // 8):
            assert abs(exchanged[block == part].sum() - fraction * 8) <= 1 + 1e-9


class TestFollowingPairs:
    @settings(deadline=None)
    @given(documents=corpora)
    def test_all_are_every_sentence_but_the_last_of_a_document_with_the_next(self, documents: list[list[int]]) -> None:
        corpus = corpus_of(documents)
        lasts = set((corpus.offsets[1:] - 1).tolist())
        firsts = [i for i in range(len(corpus.document)) if i not in lasts]
        assert all_pairs(corpus).tolist() == [[first, first + 1, first + 2] for first in firsts]

    @settings(deadline=None)
    @given(documents=corpora, seed=seeds)
    def test_one_per_document_leaves_out_documents_of_one(self, documents: list[list[int]], seed: int) -> None:
        corpus = corpus_of(documents)
        numbers = np.arange(len(documents))
        first = one_per_document(corpus, numbers, np.random.default_rng(seed))
        assert corpus.document[first].tolist() == [i for i, one in enumerate(documents) if len(one) >= 2]
        assert set(first.tolist()) <= set(corpus.followed.tolist())

    @settings(deadline=None)
    @given(documents=corpora, short=fractions, seed=seeds)
    def test_segments_cut_each_document_into_chunks_of_two_sentences_or_more(
        self, documents: list[list[int]], short: float, seed: int
    ) -> None:
        corpus, policy = corpus_of(documents), Policy(short_probability=short, target_tokens=25)
        used = []
        for start, middle, stop in segments(corpus, np.arange(len(documents)), policy, random.Random(seed)):
            assert start < middle < stop
            assert corpus.document[start] == corpus.document[stop - 1]
            used += range(start, stop)
        left_out = set(range(len(corpus.document))) - set(used)
        assert len(used) == len(set(used))
        assert left_out <= set((corpus.offsets[1:] - 1).tolist()), "a last sentence alone"

    def test_lengths_are_near_the_target_or_short_at_the_given_rate(self) -> None:
        rng = np.random.default_rng(0)
        texts = rng.integers(0, 2**60, 20_000).astype(np.uint64)
        corpus = Corpus(np.arange(20_000) // 1000, texts, 10 + texts.astype(np.int64) % 30)
        for short in (0.0, 0.5):
            found = segments(corpus, np.arange(20), Policy(short_probability=short), random.Random(0))
            size = corpus.before[found[:, STOP]] - corpus.before[found[:, START]]
            # A chunk goes past the target by less than a sentence; the last of a document may be shorter.
            target = 125 * BYTES_PER_TOKEN
            assert size.max() < target + 40
            share = (size < target).mean()
            assert share < 0.05 if short == 0 else 0.35 < share < 0.55


class TestSplitDocuments:
    @settings(deadline=None)
    @given(
        count=st.integers(1, 300),
        parts=st.fixed_dictionaries({name: st.floats(0, 0.5) for name in ("validation", "selection", "test")}),
        seed=seeds,
    )
    def test_every_document_is_in_exactly_one_split(self, count: int, parts: dict[str, float], seed: int) -> None:
        sizes = {name: max(1, round(part * count)) for name, part in parts.items() if part}
        assume(sum(sizes.values()) < count)
        splits = split_documents(count, held_out(seed, **parts))
        assert list(splits) == ["train", *(name for name in ("validation", "selection", "test") if name in sizes)]
        assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(count))
        assert {name: len(splits[name]) for name in sizes} == sizes
        again = split_documents(count, held_out(seed, **parts))
        assert all((splits[name] == again[name]).all() for name in splits)

    def test_without_fractions_all_is_for_training(self) -> None:
        assert split_documents(3, held_out())["train"].tolist() == [0, 1, 2]

    @pytest.mark.parametrize(
        ("count", "settings", "problem", "hint"),
        [
            (
                5,
                {},
                "5 documents: with 2 for --validation_fr",
                "Pass --selection_fraction 0 --early",
            ),
            (3, {}, "3 documents: with 2 for --validation_fraction", "Pass --negatives same_document, or"),
            (1, {}, "1 document: with 2 for --validation_fraction", "Pass --negatives same_document, or"),
            (
                2,
                {"negatives": "same_document"},
                "2 documents: with 1 for --val",
                "Pass --selection_fraction 0 --early",
            ),
            (
                9,
                {"validation": 0.6, "selection": 0.4},
                "9 documents: with 5 for --val",
                "Lower the fractions.",
            ),
        ],
    )
    def test_too_few_documents_name_flags_with_which_there_are_enough(self, count, settings, problem, hint) -> None:
        given = {"validation": 0.1, "selection": 0.1, "negatives": "other_document", **settings}
        with pytest.raises(UserError) as caught:
            split_documents(count, held_out(0, **given))
        assert f"the text has {problem}" in caught.value.problem
        assert caught.value.hint.startswith(hint)
        if "selection_fraction 0" in hint:
            given["selection"] = 0.0
        elif "same_document" in hint:
            given["negatives"] = "same_document"
        else:
            given |= {"validation": 0.2, "selection": 0.2}
        arguments = held_out(0, **given)
        assert is_split_in_parts(count, arguments) == (count == 1)
        assert count == 1 or len(split_documents(count, arguments)) >= 2

    @pytest.mark.parametrize(
        ("unit", "splitter", "smaller"),
        [
            ("file", "sentencex", " Or take smaller documents: --document_unit block (paragraphs) or line."),
            ("file", "line", " Or take smaller documents: --document_unit block (paragraphs)."),
            ("block", "period", " Or take smaller documents: --document_unit line."),
            ("block", "line", ""),
            ("line", "sentencex", ""),
        ],
    )
    def test_smaller_documents_than_those_of_the_run_are_named(self, unit: str, splitter: str, smaller: str) -> None:
        arguments = replace(held_out(negatives="other_document", validation=0.1), document_unit=unit)
        message = refusal(split_documents, 1, replace(arguments, sentence_splitter=splitter))
        assert message.endswith(f"Pass --negatives same_document, or give more text.{smaller}")

    def test_eight_documents_are_enough_for_the_recipe_of_books(self) -> None:
        splits = split_documents(8, held_out(0, validation=0.1, selection=0.1, negatives="other_document"))
        assert {name: len(numbers) for name, numbers in splits.items()} == {"train": 4, "validation": 2, "selection": 2}

    @pytest.mark.parametrize("count", [60, 2000])
    def test_of_a_single_document_parts_are_held_out_with_gaps(self, count: int) -> None:
        table = Dataset.from_dict({"sentence": [str(n) for n in range(count)], "document": [0] * count})
        parted, members = split_in_parts(table, held_out(0, validation=0.2, selection=0.1))
        document = np.array(parted["document"])
        assert (np.diff(document) >= 0).all()
        sizes = {name: int(np.isin(document, numbers).sum()) for name, numbers in members.items()}
        gap = max(1, min(10, count // 50))
        assert sizes == {
            "train": count - int(0.3 * count) - 2 * gap,
            "validation": count // 5,
            "selection": count // 10,
        }
        assert parted["sentence"][:] == table["sentence"][:]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve documents of five sentences, and one of one."""
    folder = tmp_path_factory.mktemp("sentences")
    lines = [" ".join(f"This is {word} of {i}." for word in "abcde") for i in range(12)]
    (folder / "text.txt").write_text("\n".join([*lines, "Alone."]), encoding="utf-8")
    return write_sentences([folder / "text.txt"], NspArguments(), folder / "text.arrow")


class TestMakePairs:
    @pytest.mark.parametrize("policy", PAIR_POLICIES)
    @pytest.mark.parametrize("negatives", NEGATIVES)
    def test_the_table_and_its_texts(self, sentences: Dataset, tmp_path: Path, policy: str, negatives: str) -> None:
        made = Policy(policy, negatives, target_tokens=10)
        if (policy, negatives) == ("one_per_document", "same_document"):
            assert "12 can exchange their second segments" in refusal(make_pairs, sentences, tmp_path / "a", made)
            return
        table = make_pairs(sentences, tmp_path / "a.arrow", made)
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
        table = make_pairs(sentences, tmp_path / "a.arrow", Policy(policy))
        assert (len(table), sum(table["label"])) == (count, count // 2)
        assert counts(table) == {"in_train": 0, "unmatched": 0, "both_labels": 0}
        for part in ("first", "second"):
            begins = [sorted(table.filter(lambda row, n=n: row["label"] == n)[f"{part}_start"]) for n in (0, 1)]
            assert len(begins[0]) == len(begins[1])
            assert sorted(begins[0] + begins[1]) == sorted(row + (part == "second") for row in table["first_start"])

    @pytest.mark.parametrize("policy", PAIR_POLICIES)
    def test_a_split_uses_nothing_of_another(self, sentences: Dataset, tmp_path: Path, policy: str) -> None:
        splits = split_documents(count_documents(sentences), held_out(1, validation=0.3, test=0.2))
        document = np.array(sentences["document"][:])
        for name, numbers in splits.items():
            made = Policy(policy, target_tokens=9)
            table = make_pairs(sentences, tmp_path / f"{name}.arrow", made, documents=numbers)
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
            make_pairs(sentences, tmp_path / f"{i}.arrow", Policy(policy, target_tokens=20), seed=seed).to_dict()
            for i, seed in enumerate((3, 3, 4))
        ]
        assert tables[0] == tables[1]
        assert tables[0] != tables[2]

    @pytest.mark.parametrize("negatives", NEGATIVES)
    def test_another_epoch_has_the_same_firsts_and_seconds_exchanged_otherwise(
        self, sentences: Dataset, tmp_path: Path, negatives: str
    ) -> None:
        one, two, again = (
            make_pairs(sentences, tmp_path / f"{i}.arrow", Policy(negatives=negatives), epoch=epoch).to_dict()
            for i, epoch in enumerate((0, 1, 1))
        )
        assert two == again
        for name in ("first_start", "first_stop"):
            assert one[name] == two[name]
        assert one["second_start"] != two["second_start"]
        assert sorted(one["second_start"]) == sorted(two["second_start"])
        assert sum(one["label"]) == sum(two["label"])

    def test_a_limit_is_a_random_part_that_keeps_the_balance(self, sentences: Dataset, tmp_path: Path) -> None:
        table = make_pairs(sentences, tmp_path / "a.arrow", Policy(), limit=20)
        assert len(table) <= 20
        assert abs(sum(table["label"]) - len(table) / 2) <= 1, "of couples, an odd number"
        assert table["first_start"][:] == sorted(table["first_start"])
        assert table["first_start"][:] != list(range(len(table)))

    def test_pairs_that_follow_in_train_too_are_left_out_and_counted(self, tmp_path: Path) -> None:
        lines = [f"a{i}. b{i}. c{i}." for i in range(6)]
        (tmp_path / "text.txt").write_text("\n".join([*lines, *lines[:2]]) + "\n", encoding="utf-8")
        table = write_sentences(
            [tmp_path / "text.txt"], NspArguments(sentence_splitter="period"), tmp_path / "text.arrow"
        )
        options = {"documents": np.array([3, 4, 5, 6, 7]), "train_documents": np.array([0, 1, 2])}
        held_out = make_pairs(table, tmp_path / "a.arrow", Policy(), **options)
        assert counts(held_out)["in_train"] == 4
        assert set(held_out["first_start"]) <= set(range(9, 18))
        options["documents"] = np.array([6, 7])
        assert refusal(make_pairs, table, tmp_path / "b", Policy(), **options) == (
            "The text: all of its 4 pairs also follow each other in train. Leave out what the text repeats."
        )

    def test_what_truly_follows_elsewhere_is_a_negative_of_any_alone_and_counted(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text("How are you. Fine.\nHow is he. Fine.\n" * 9, encoding="utf-8")
        table = write_sentences(
            [tmp_path / "text.txt"], NspArguments(sentence_splitter="period"), tmp_path / "text.arrow"
        )
        assert counts(make_pairs(table, tmp_path / "a", Policy(negatives="any")))["both_labels"] == 10
        assert "no two of 18 can exchange" in refusal(make_pairs, table, tmp_path / "b", Policy())

    @pytest.mark.launch
    def test_another_process_with_another_hash_seed_makes_the_same_pairs(
        self, sentences: Dataset, tmp_path: Path
    ) -> None:
        expected = make_pairs(sentences, tmp_path / "here.arrow", Policy("segments"), seed=5).to_dict()
        code = (
            "import json, sys; from pathlib import Path; from datasets import Dataset\n"
            "from bertlab.pretraining.pairs import Policy, make_pairs\n"
            "sentences = Dataset.from_file(sys.argv[1])\n"
            "print(json.dumps(make_pairs(sentences, Path(sys.argv[2]), Policy('segments'), seed=5).to_dict()))"
        )
        command = [sys.executable, "-c", code, sentences.cache_files[0]["filename"], str(tmp_path / "there.arrow")]
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        assert json.loads(done.stdout) == expected

    def test_single_texts_leave_nothing_out_and_need_no_pair(self, sentences: Dataset, tmp_path: Path) -> None:
        # Two sentences have 31 to 33 bytes, 8 tokens of 4.3 bytes 34.
        policy = Policy("segments", negative_fraction=0.0, target_tokens=8, short_probability=0.0, single=True)
        table = make_pairs(sentences, tmp_path / "a.arrow", policy)
        used = [k for row in table for k in range(row["first_start"], row["first_stop"])]
        assert used == list(range(len(sentences)))
        assert {row["first_stop"] - row["first_start"] for row in table} == {1, 2}
        assert " ".join(*pair_texts(sentences, table[:], single=True)) == " ".join(sentences["sentence"])

    def test_the_target_is_counted_in_bytes(self, sentences: Dataset, tmp_path: Path) -> None:
        # A sentence has 15 or 16 bytes, so two of them are the first to reach 6 tokens of 4.3 bytes.
        assert 16 < 6 * BYTES_PER_TOKEN < 30
        policy = Policy("segments", target_tokens=6, short_probability=0.0)
        table = make_pairs(sentences, tmp_path / "a.arrow", policy, seed=2)
        assert {row["second_stop"] - row["first_start"] for row in table if row["label"] == IS_NEXT} == {2}

    def test_texts_come_from_any_number_of_chunks_in_the_order_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bertlab.pretraining.sentences._BATCH_SENTENCES", 2)
        path = tmp_path / "text.txt"
        path.write_text("\n".join(f"s{i}" for i in range(11)), encoding="utf-8")
        table = write_sentences(
            [path], NspArguments(document_unit="file", sentence_splitter="line"), tmp_path / "text.arrow"
        )
        assert table.data.column("sentence").num_chunks == 1
        path.write_text("\n\n".join(f"s{i}" for i in range(11)), encoding="utf-8")
        table = write_sentences(
            [path], NspArguments(document_unit="block", sentence_splitter="line"), tmp_path / "text.arrow"
        )
        assert table.data.column("sentence").num_chunks == 6
        batch = dict(zip(RANGES, ([9, 0, 9], [10, 1, 10], [4, 8, 0], [7, 9, 2]), strict=True))
        assert pair_texts(table, batch) == [["s9", "s0", "s9"], ["s4 s5 s6", "s8", "s0 s1"]]

    def test_one_document_gives_negatives_of_its_own_alone(self, sentences: Dataset, tmp_path: Path) -> None:
        one = {"documents": np.array([3])}
        for policy in PAIR_POLICIES:
            message = refusal(make_pairs, sentences, tmp_path / "a", Policy(policy), name="The test split", **one)
            assert message.startswith("The test split gives no pair: ")
        assert len(make_pairs(sentences, tmp_path / "a", Policy(negatives="same_document"), **one)) == 4
        assert len(make_pairs(sentences, tmp_path / "a", replace(Policy(), negative_fraction=0.0), **one)) == 4

    @pytest.mark.parametrize(
        ("kind", "other"), [("all", "--negatives other_document"), ("one_per_document", "--pairs all")]
    )
    def test_documents_too_short_for_negatives_of_their_own(self, kind: str, other: str, tmp_path: Path) -> None:
        path = tmp_path / "text.txt"
        path.write_text("a. b.\nc. d.\n", encoding="utf-8")
        table = write_sentences([path], NspArguments(sentence_splitter="period"), tmp_path / "text.arrow")
        message = refusal(make_pairs, table, tmp_path / "a", Policy(kind, "same_document"))
        assert message == (
            "The text gives no pair: no two of 2 can exchange their second segments with --negatives same_document. "
            f"Choose {other}, or give more text. "
            "Where the same texts come again and again, --negatives any takes them."
        )


def test_the_meditations_have_317_pairs_of_the_tutorial(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "meditations" / "clean.txt"
    if not path.exists():
        pytest.skip("BERTLAB_DATA has no meditations/clean.txt")
    table = write_sentences([path], NspArguments(sentence_splitter="period"), tmp_path / "text.arrow")
    found = make_pairs(table, tmp_path / "pairs.arrow", Policy("one_per_document", "any"))
    assert len(found) == 317
    assert sum(found["label"]) == 158
