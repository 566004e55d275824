"""From text to splits, the baselines beside a score, and models and tokenizers made from scratch."""

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from nsp_runs import paragraphs, ranges, write_text
from running import refusal
from tqdm import tqdm
from transformers import AlbertConfig, AutoTokenizer, BertConfig, ElectraConfig, GPT2Config, RobertaConfig

from bertlab.cli.arguments import ModelArguments, NspArguments
from bertlab.errors import UserError
from bertlab.models.loading import OTHER_TOKENIZER
from bertlab.models.segment_cosine import BertSegmentCosineForNextSentencePrediction
from bertlab.pretraining import baselines, dataset, objectives, ranking
from bertlab.pretraining.document_splits import check_sizes
from bertlab.pretraining.model import (
    SETTINGS,
    SPECIAL_TOKENS,
    build_model,
    refuse_unfit,
    scratch_config,
    tokenizer_and_config,
    train_tokenizer,
)
from bertlab.pretraining.pairs import NEGATIVE_TYPES


def _arguments(text: Path, **changed: Any) -> NspArguments:
    settings = {"validation_fraction": 0.2, "selection_fraction": 0.1, "test_fraction": 0.1, **changed}
    return NspArguments(text=[str(text)], **settings)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dataset.Text:
    folder = tmp_path_factory.mktemp("nsp")
    return dataset.read(_arguments(write_text(folder / "text.txt", 60)), str(folder / "cache"))


def _cached(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*.arrow")}


def test_sentences_are_written_once(tmp_path: Path, capsys):
    text, cache = write_text(tmp_path / "text.txt"), tmp_path / "cache"
    first = dataset.read(_arguments(text), str(cache))
    before = _cached(cache)
    assert list(before) == [first.folder / "sentences.arrow"]
    again = dataset.read(_arguments(text), str(cache))
    assert _cached(cache) == before
    assert again.sentences[:] == first.sentences[:]
    assert capsys.readouterr().out.splitlines()[0] == f"1 file, 40 documents, {len(first.sentences)} sentences"


WRAPPED = "It was late when the old man came\nto the house, and nobody\nheard him knock. He waited.\n"


@pytest.mark.parametrize(
    ("content", "unit", "warns"),
    [
        (WRAPPED * 20, "line", True),
        (WRAPPED * 20, "block", False),
        (WRAPPED * 3, "line", False),  # too few lines to tell
        ("\n".join(paragraphs(40)), "line", False),
        # One paragraph a line in small letters; verse; a script that has no small letters.
        ("\n".join(paragraphs(40)).lower(), "line", False),
        ("The sun goes down upon the sea\nAnd all the birds are still,\n" * 20, "line", False),
        ("今天很好，我们去公园\n散步。明天也去\n" * 20, "line", False),
    ],
    ids=["wrapped", "as blocks", "short", "paragraphs", "small letters", "verse", "Chinese"],
)
def test_wrapped_text_that_is_read_line_by_line_is_warned_of(
    content: str, unit: str, warns: bool, tmp_path: Path, capsys
):
    text = tmp_path / "text.txt"
    text.write_text(content, encoding="utf-8")
    dataset.read(_arguments(text, document_unit=unit), str(tmp_path / "cache"))
    err = capsys.readouterr().err
    assert ("of the lines end inside a sentence: with --document_unit line each is a document." in err) == warns
    if warns:
        assert "warning: 68% of" in err, "40 of the 59 lines that another one follows"


def test_another_text_or_setting_is_read_again(tmp_path: Path):
    text, cache = write_text(tmp_path / "text.txt"), str(tmp_path / "cache")
    first = dataset.read(_arguments(text), cache)
    by_period = dataset.read(_arguments(text, sentence_splitter="period"), cache)
    assert by_period.sentences[0]["sentence"] + "." == first.sentences[0]["sentence"]
    text.write_text("One here. Two here.\nThree there. Four there.\n", encoding="utf-8")
    changed = dataset.read(_arguments(text), cache)
    assert changed.sentences["sentence"][:] == ["One here.", "Two here.", "Three there.", "Four there."]
    assert len({first.folder, by_period.folder, changed.folder}) == 3


def test_overwrite_cache_writes_again(tmp_path: Path, tokenizer):
    text, cache = write_text(tmp_path / "text.txt"), tmp_path / "cache"
    dataset.make_splits(dataset.read(_arguments(text), str(cache)), _arguments(text), tokenizer)
    before = _cached(cache)
    assert len(before) == 5, "sentences, and the pairs of four splits"
    again = _arguments(text, overwrite_cache=True)
    dataset.make_splits(dataset.read(again, str(cache)), again, tokenizer)
    after = _cached(cache)
    assert after.keys() == before.keys()
    assert all(after[path] > before[path] for path in before)


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be written: .*\. Name another --cache_dir\."):
        dataset.read(_arguments(write_text(tmp_path / "text.txt")), str(tmp_path / "file"))


@pytest.mark.parametrize("pairs", ["all", "one_per_document", "segments"])
@pytest.mark.parametrize("negatives", ["other_document", "any"])
def test_no_document_is_in_two_splits(negatives: str, pairs: str, read: dataset.Text, tokenizer):
    arguments = _arguments(Path(), pairs=pairs, negatives=negatives)
    data = dataset.make_splits(read, arguments, tokenizer)
    assert list(data.splits) == ["train", "validation", "selection", "test"]
    document = np.asarray(read.sentences["document"])
    seen = {
        name: {int(document[at]) for a, b, c, d in ranges(split) for at in (*range(a, b), *range(c, d))}
        for name, split in data.splits.items()
    }
    assert sum(map(len, seen.values())) == len(set().union(*seen.values()))
    # One pair of an odd number has none to exchange with.
    for name, documents in (("validation", 12), ("selection", 6), ("test", 6)):
        assert documents - 2 <= len(seen[name]) <= documents


def test_splits_have_roles_and_only_those_not_trained_on_have_groups(read: dataset.Text, tokenizer):
    data = dataset.make_splits(read, _arguments(Path()), tokenizer)
    assert (data.train, data.selection, data.evaluation_splits) == ("train", "selection", ("validation", "test"))
    assert data.eval_split == "selection"
    assert data.schema.class_names == ("IsNext", "NotNext")
    assert not {"idx", "source", "document"} & set(data.splits["train"].column_names)
    documents = read.sentences["document"][:]
    for name in ("validation", "selection", "test"):
        split = data.splits[name]
        assert split["idx"][:] == list(range(len(split)))
        assert split["document"][:] == [documents[first] for first, *_ in ranges(split)]
        kinds = split["source"][:]
        assert set(kinds) == {"next", "other_document"} <= set(NEGATIVE_TYPES)
        assert [kind != "next" for kind in kinds] == [label == 1 for label in split["labels"][:]]


def test_texts_are_those_of_the_sentences(read: dataset.Text, tokenizer):
    data = dataset.make_splits(read, _arguments(Path(), pairs="segments", max_seq_length=60), tokenizer)
    sentences = read.sentences["sentence"][:]
    first, second = data.texts("validation")
    for (a, b, c, d), one, two in zip(ranges(data.splits["validation"]), first, second, strict=True):
        assert (one, two) == (" ".join(sentences[a:b]), " ".join(sentences[c:d]))
    assert max(b - a for a, b, _, _ in ranges(data.splits["validation"])) > 1
    rows = data.splits["validation"].select([3, 1])
    assert data.read(rows[:]) == [[first[3], first[1]], [second[3], second[1]]]


def test_the_split_seed_alone_decides_the_pairs(read: dataset.Text, tokenizer, tmp_path: Path):
    arguments = _arguments(write_text(tmp_path / "text.txt", 60))
    elsewhere = dataset.read(arguments, str(tmp_path / "cache"))
    other = _arguments(Path(), split_seed=7)
    one, same, changed = (
        dataset.make_splits(read, _arguments(Path()), tokenizer),
        dataset.make_splits(elsewhere, arguments, tokenizer),
        dataset.make_splits(read, other, tokenizer),
    )
    for name in one.splits:
        assert ranges(one.splits[name]) == ranges(same.splits[name])
        assert ranges(one.splits[name]) != ranges(changed.splits[name])


def test_limits_are_for_each_split(read: dataset.Text, tokenizer):
    limits = {"max_train_samples": 30, "max_eval_samples": 8}
    part, again = (dataset.make_splits(read, _arguments(Path(), **limits), tokenizer) for _ in range(2))
    for name, split in part.splits.items():
        most = 30 if name == "train" else 8
        assert most - 8 <= len(split) <= most
        assert ranges(split) == ranges(again.splits[name])
    assert part.splits["validation"]["idx"][:] == list(range(len(part.splits["validation"])))


@pytest.mark.parametrize("pairs", ["all", "segments"])
def test_a_part_of_the_pairs_keeps_their_balance(pairs: str, read: dataset.Text, tokenizer):
    for seed in range(5):
        arguments = _arguments(Path(), split_seed=seed, max_train_samples=20, pairs=pairs, max_seq_length=24)
        labels = dataset.make_splits(read, arguments, tokenizer).splits["train"]["labels"][:]
        assert 10 <= len(labels) <= 20
        assert abs(sum(labels) - len(labels) / 2) <= 1, "of couples, an odd number"


def test_later_epochs_have_the_same_pairs_with_other_seconds(read: dataset.Text, tokenizer):
    arguments = _arguments(Path())
    train = dataset.make_splits(read, arguments, tokenizer).splits["train"]
    tables = [train, *dataset.fresh_pairs(read, arguments, tokenizer, 3)]
    assert len(tables) == 3
    firsts = [[row[:2] for row in ranges(table)] for table in tables]
    assert firsts[0] == firsts[1] == firsts[2]
    seconds = [[row[2:] for row in ranges(table)] for table in tables]
    assert seconds[0] != seconds[1] != seconds[2] != seconds[0]
    assert {tuple(sorted(column)) for column in map(tuple, seconds)} == {tuple(sorted(seconds[0]))}
    assert len(dataset.fresh_pairs(read, arguments, tokenizer, 99)) == dataset.FRESH_EPOCHS - 1
    for change in ({"fresh_negatives": False}, {"objective": "mlm"}):
        assert dataset.fresh_pairs(read, _arguments(Path(), **change), tokenizer, 3) == []


@pytest.mark.parametrize(
    ("objective", "lead"), [("nsp", "accuracy"), ("nsp+mlm", "accuracy"), ("mlm", "masked_accuracy")]
)
def test_the_objective_decides_the_primary_metric(objective: str, lead: str, read: dataset.Text, tokenizer):
    assert dataset.make_splits(read, _arguments(Path(), objective=objective), tokenizer).metrics[0] == lead


def test_text_of_single_sentences_is_enough_for_mlm(tokenizer, tmp_path: Path, capsys):
    (tmp_path / "tweets.txt").write_text("\n".join(f"The dog is {n}." for n in range(40)), encoding="utf-8")
    arguments = _arguments(tmp_path / "tweets.txt", objective="mlm")
    data = dataset.make_splits(dataset.read(arguments, str(tmp_path / "cache")), arguments, tokenizer)
    assert capsys.readouterr().out.endswith("40 texts (24 train, 8 validation, 4 selection, 4 test)\n")
    (texts,) = data.texts("validation")
    assert len(set(texts)) == 8


def test_unknown_tokens_are_warned_of(tokenizer, tmp_path: Path, capsys):
    (tmp_path / "text.txt").write_text("\n".join(f"今天{n}很好。我们去吧。再见。" for n in range(20)), encoding="utf-8")
    arguments = _arguments(tmp_path / "text.txt", language="zh", objective="mlm")
    dataset.make_splits(dataset.read(arguments, str(tmp_path / "cache")), arguments, tokenizer)
    assert "% of the tokens are unknown to this tokenizer" in capsys.readouterr().err


def test_nothing_is_held_out_where_fractions_are_0(read: dataset.Text, tokenizer, capsys):
    none = dict.fromkeys(("validation_fraction", "selection_fraction", "test_fraction"), 0)
    data = dataset.make_splits(read, _arguments(Path(), **none), tokenizer)
    assert list(data.splits) == ["train"]
    assert (data.evaluation_splits, data.eval_split) == ((), None)
    rows = len(data.splits["train"])
    assert capsys.readouterr().out == f"{rows} pairs ({rows} train), other document negatives\n"


def test_segments_are_packed_by_the_length_of_the_tokenizers_own_tokens(read: dataset.Text, tokenizer):
    lengths = {}
    for most in (30, 60):
        arguments = _arguments(Path(), pairs="segments", max_seq_length=most, short_seq_probability=0.0)
        data = dataset.make_splits(read, arguments, tokenizer)
        found = tokenizer(*data.texts("train"))["input_ids"]
        lengths[most] = np.median([len(ids) for ids in found])
    # A document has 2 to 6 sentences of about 9 tokens, so few reach 60.
    assert 24 <= lengths[30] <= 42
    assert lengths[30] + 4 < lengths[60] <= 66


def _messages(folder: Path, tokenizer: Any, capsys: Any, documents: list[str], **settings: Any) -> list[str]:
    """Return what is said about the pairs of a text of these documents."""
    (folder / "text.txt").write_text("\n".join(documents) + "\n", encoding="utf-8")
    arguments = _arguments(folder / "text.txt", max_seq_length=60, **settings)
    text = dataset.read(arguments, str(folder / "cache"))
    capsys.readouterr()
    dataset.make_splits(text, arguments, tokenizer)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("pairs", "objective", "kind"),
    [
        ("all", "nsp", "pairs"),
        ("one_per_document", "nsp", "pairs"),
        ("segments", "nsp+mlm", "pairs"),
        ("all", "mlm", "texts"),
    ],
)
def test_what_is_trained_on_too_is_left_out(pairs: str, objective: str, kind: str, tokenizer, tmp_path: Path, capsys):
    """As where a folder holds a book twice: each document stands in a split of its own, and its copy in train."""
    documents = paragraphs(60) * 2
    one_split = {"pairs": pairs, "objective": objective, "selection_fraction": 0, "test_fraction": 0}
    said = _messages(tmp_path, tokenizer, capsys, documents, **one_split)
    (left_out,) = (line for line in said if "train has" in line)
    assert left_out.startswith("warning: validation: left out because train has them too: ")
    assert left_out.endswith(f" {kind}.")
    assert left_out in _messages(tmp_path, tokenizer, capsys, documents, **one_split), "told from the cache too"


def test_pairs_with_both_labels_and_without_a_partner_are_counted(tokenizer, tmp_path: Path, capsys):
    chat = ["How are you. Fine.", "How is he. Fine."] * 30
    nothing = {"validation_fraction": 0, "selection_fraction": 0, "test_fraction": 0}
    (said,) = _messages(tmp_path, tokenizer, capsys, chat, negatives="any", **nothing)
    assert said == "warning: train: 30 NotNext pairs follow each other in the text."
    lone = [f"This is {index}. That was {index}." for index in range(30)]
    long = ["One. Two. Three. Four. Five."] * 2
    (said,) = _messages(tmp_path, tokenizer, capsys, [*lone, *long], negatives="same_document", **nothing)
    assert said == "info: train: 30 pairs found none to exchange second segments with and are left out."


def test_a_held_out_text_is_left_out_only_if_train_has_all_of_its_sentences(tokenizer, tmp_path: Path, capsys):
    documents = [f"Amen. The cat is {index}." for index in range(20)]
    arguments = {"objective": "mlm", "short_seq_probability": 0, "selection_fraction": 0, "test_fraction": 0}
    assert _messages(tmp_path, tokenizer, capsys, documents, **arguments) == []
    with pytest.raises(UserError, match=r"^The validation split: all of its 4 texts are in train too\."):
        _messages(tmp_path, tokenizer, capsys, ["Amen. So be it."] * 20, **arguments)


@pytest.mark.parametrize(
    ("documents", "unit", "hint"),
    [
        (20, "file", "Choose --negatives other_document, or give longer texts."),
        (3, "line", "Choose a larger --document_unit, or give longer texts."),
        (3, "file", "Give longer texts."),
    ],
)
def test_short_documents_are_told_of_ways_that_are_open(documents: int, unit: str, hint: str):
    table = Dataset.from_dict({"document": np.repeat(np.arange(documents, dtype=np.int32), 3)})
    arguments = _arguments(Path(), negatives="same_document", document_unit=unit)
    members = {"train": np.arange(1, documents), "validation": np.array([0])}
    assert refusal(check_sizes, table, members, arguments) == (
        f"the train split has no document of four or more sentences, as --negatives same_document needs. {hint}"
    )


def test_gaps_between_parts_are_no_documents(tokenizer, tmp_path: Path, capsys):
    single = [" ".join(paragraphs(20))]
    assert _messages(tmp_path, tokenizer, capsys, single, negatives="same_document") == []


@pytest.mark.parametrize(("second", "mrr", "recall"), [("Yes.", 1, 1), ("It is {}.", 0.293, 0.1)])
def test_the_ranking_of_chance_counts_the_candidates_with_other_texts(
    second: str, mrr: float, recall: float, tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = (f"This is {index}. {second.format(index)}" for index in range(60))
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    arguments = _arguments(tmp_path / "text.txt", negatives="any", validation_fraction=0.5)
    data = dataset.make_splits(dataset.read(arguments, str(tmp_path / "cache")), arguments, tokenizer)
    monkeypatch.setattr(ranking.evaluate, "predict_logits", lambda _, rows: np.ones((len(rows), 2)))
    trainer: Any = SimpleNamespace(processing_class=tokenizer)
    found = ranking.ranking_metrics(arguments, trainer, data, "validation")
    assert found["mrr_chance"] == pytest.approx(mrr, abs=5e-4)
    assert found["recall_at_1_chance"] == pytest.approx(recall)


@pytest.mark.parametrize("agreeing", [50, 20], ids=["the cosine tells", "the cosine misleads"])
def test_a_new_head_starts_without_a_preference_for_either_class(agreeing: int, monkeypatch: pytest.MonkeyPatch):
    """Even where IsNext pairs of the sample have the lower cosines, as by chance where nothing is to be learned."""
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    head = BertSegmentCosineForNextSentencePrediction(BertConfig(vocab_size=9, **sizes))
    cosines = np.repeat([0.96, 0.94], 60)
    labels = np.arange(120) % 60 >= np.where(np.arange(120) < 60, agreeing, 60 - agreeing)
    scale, threshold = objectives.USUAL_START
    start = np.outer(scale * (cosines - threshold), [0.5, -0.5])
    monkeypatch.setattr(objectives, "_trainer_of_a_copy", lambda _: SimpleNamespace(args=SimpleNamespace()))
    monkeypatch.setattr(objectives.evaluate, "predict_logits", lambda *_: start)
    trainer: Any = SimpleNamespace(model=head, is_fsdp_enabled=False)
    rows, data = Dataset.from_dict({"labels": labels.astype(int)}), SimpleNamespace(train="train")
    objectives.fit_start(trainer, {"train": rows}, data)  # type: ignore[arg-type]
    weight, bias = (part[0].detach().numpy() for part in (head.seq_relationship.weight, head.seq_relationship.bias))
    logits = 2 * (cosines * weight.sum() + bias)
    assert np.mean(1 / (1 + np.exp(-logits))) == pytest.approx(0.5, abs=0.01)


def _overlapping_pairs(rows: int, seed: int) -> tuple[list[list[str]], np.ndarray]:
    """Return pairs that share a word exactly where they follow."""
    dice = random.Random(seed)
    names = [f"name{index}" for index in range(40)]
    first, second, labels = [], [], []
    for row in range(rows):
        one, other = dice.sample(names, 2)
        labels.append(row % 2)
        first.append(f"they saw {one} today")
        second.append(f"then {other if row % 2 else one} went away")
    return [first, second], np.array(labels)


def test_word_overlap_learns_an_obvious_case():
    train, labels = _overlapping_pairs(400, 1)
    test, labels_of_test = _overlapping_pairs(200, 2)
    predictions, how = baselines.overlap_baseline(train, labels, {"validation": test})
    assert np.mean(predictions["validation"].argmax(axis=1) == labels_of_test) > 0.98
    assert how.startswith("TF-IDF similarity and lengths, logistic regression on 400 training pairs, ")


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [("x {}", "y {}", "abcdefghij"), ("我们今天看见{}了。", "后来{}走远。", "猫狗山海书火雨花鸟鱼")],
    ids=["letters", "Chinese"],
)
def test_words_of_one_character_overlap(before: str, after: str, names: str):
    dice = random.Random(0)
    chosen = [dice.sample(names, 2) for _ in range(300)]
    labels = np.arange(300) % 2
    first = [before.format(one) for one, _ in chosen]
    second = [after.format(other if label else one) for (one, other), label in zip(chosen, labels, strict=True)]
    predictions, _ = baselines.overlap_baseline([first, second], labels, {"validation": [first, second]})
    assert np.mean(predictions["validation"].argmax(axis=1) == labels) > 0.98


def test_without_words_lengths_alone_are_used():
    labels = np.arange(40) % 2
    pairs = [["!" for _ in labels], ["? ?" if label else "?" for label in labels]]
    predictions, how = baselines.overlap_baseline(pairs, labels, {"validation": pairs})
    assert predictions["validation"].argmax(axis=1).tolist() == labels.tolist()
    assert how.startswith("no words in the texts, so lengths alone, logistic regression on 40 training pairs, ")


def test_word_overlap_of_one_class_says_that_class():
    train, labels = _overlapping_pairs(20, 1)
    predictions, _ = baselines.overlap_baseline(train, np.ones_like(labels), {"validation": train})
    assert predictions["validation"].tolist() == [[0, 1]] * 20


def test_token_frequencies_alone_have_mlm_scores():
    """Of 5, 6 and 6 the most frequent training token is one; each of the 8 ids counts at least once."""
    scores = baselines.frequency_baseline([[1, 5, 5, 6, 2]], [[1, 5, 6, 2], [1, 6, 2]], special=[1, 2], vocabulary=8)
    surprise = -(np.log(2 / 9) + 2 * np.log(1 / 9)) / 3
    assert scores == {
        "most_frequent_token_accuracy": pytest.approx(1 / 3),
        "token_frequency_perplexity": pytest.approx(np.exp(surprise)),
    }
    nothing = baselines.frequency_baseline([[1, 2]], [[1, 5, 2]], special=[1, 2], vocabulary=8)
    assert all(np.isnan(value) for value in nothing.values())


def test_training_pairs_for_the_baseline_are_a_seeded_part():
    assert baselines.sample_rows(7).tolist() == list(range(7))
    many = baselines.sample_rows(50_000)
    assert len(many) == len(set(many.tolist())) == baselines.TRAINING_PAIRS
    assert (np.diff(many) > 0).all() and many[-1] > 49_000
    assert many.tolist() == baselines.sample_rows(50_000).tolist()


@pytest.mark.parametrize(
    ("table", "warns"),
    [
        (((0, 50), (50, 0)), True),
        (((12, 38), (37, 13)), True),
        (((20, 30), (30, 20)), False),
        (((0, 5), (5, 0)), False),
        (((25, 25), (25, 25)), False),
        (((50, 0), (0, 50)), False),
        (((38, 12), (13, 37)), False),
        # NotNext is more than half, as with segments, and the head predicts IsNext for nearly all: often wrong.
        (((350, 0), (650, 0)), False),
        (((348, 2), (640, 10)), False),
        (((0, 650), (0, 350)), False),
        (((0, 0), (50, 0)), False),
        # Right in most pairs, as nearly all are NotNext and it says so, and yet against the labels.
        (((0, 60), (140, 800)), True),
    ],
)
def test_labels_are_called_flipped_only_when_chance_cannot_explain_it(table: Any, warns: bool, capsys):
    """`table` counts the IsNext pairs, then the NotNext pairs, that the head calls IsNext and NotNext."""
    counts = np.ravel(table)
    labels, predictions = np.repeat([0, 0, 1, 1], counts), np.repeat([0, 1, 0, 1], counts)
    baselines.warn_if_flipped(predictions, labels)
    err = capsys.readouterr().err
    assert ("the labels look flipped (0 must be IsNext, 1 NotNext)" in err) == warns
    follow, others = (row[0] / max(sum(row), 1) for row in table)
    shares = f"predicts IsNext for {follow:.1%} of the IsNext pairs and for {others:.1%} of the NotNext pairs"
    assert (shares in err) == warns


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("hiden_size=64", "--model_config: BERT has no setting 'hiden_size'. Did you mean 'hidden_size'?"),
        ("vocab_size=99", "--model_config: BERT has no setting 'vocab_size'. Choose from: hidden_size, "),
        ("id2label=x", "--model_config: BERT has no setting 'id2label'. Choose from: "),
        (
            "hidden_size=big",
            "--model_config hidden_size=big: it must be a whole number of at least 1. BERT-base has 768.",
        ),
        (
            "num_hidden_layers=1.5",
            "--model_config num_hidden_layers=1.5: it must be a whole number of at least 1. BERT-base has 12.",
        ),
        (
            "num_attention_heads=0",
            "--model_config num_attention_heads=0: it must be a whole number of at least 1. BERT-base has 12.",
        ),
        (
            "hidden_dropout_prob=x",
            "--model_config hidden_dropout_prob=x: it must be a number from 0 to below 1. BERT-base has 0.1.",
        ),
        (
            "hidden_dropout_prob=7",
            "--model_config hidden_dropout_prob=7: it must be a number from 0 to below 1. BERT-base has 0.1.",
        ),
        (
            "layer_norm_eps=nan",
            "--model_config layer_norm_eps=nan: it must be a number from 0 to below 1. BERT-base has 1e-12.",
        ),
        ("hidden_act=gelo", "--model_config hidden_act=gelo: no such activation. Did you mean 'gelu'?"),
        (
            "hidden_size=30",
            "--model_config: hidden_size 30 is not a multiple of the number of heads, 12. ",
        ),
    ],
)
def test_an_impossible_model_is_refused(changed: str, message: str, tokenizer):
    name, value = changed.split("=")
    with pytest.raises(UserError) as caught:
        scratch_config(NspArguments(model_config={name: value}), tokenizer)
    assert str(caught.value).startswith(message)


def test_model_config_changes_bert_and_the_vocabulary_is_the_tokenizers(tokenizer):
    changed = {"hidden_size": "64", "num_attention_heads": "2", "hidden_act": "relu", "hidden_dropout_prob": "0"}
    config = scratch_config(NspArguments(model_config=changed), tokenizer)
    assert (config.hidden_size, config.num_attention_heads, config.hidden_act) == (64, 2, "relu")
    assert config.hidden_dropout_prob == 0.0
    assert config.vocab_size == len(tokenizer)
    assert config.intermediate_size == BertConfig().intermediate_size
    assert all(hasattr(BertConfig(), name) for name in SETTINGS)


def _sentences(seed: int | None = None) -> Dataset:
    texts = paragraphs(80)
    if seed is not None:
        random.Random(seed).shuffle(texts)
    return Dataset.from_dict({"sentence": texts})


def test_a_trained_tokenizer_is_berts_kind_and_survives_saving(tmp_path: Path):
    trained = train_tokenizer(_sentences(), 150)
    trained.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(trained) <= 150
    assert loaded.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    for tokenizer in (trained, loaded):
        found = tokenizer("The Cat sat.", "A dogs' house")
        tokens = tokenizer.convert_ids_to_tokens(found["input_ids"])
        assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]" and tokens.count("[SEP]") == 2
        first = tokens.index("[SEP]") + 1
        assert found["token_type_ids"] == [0] * first + [1] * (len(tokens) - first)
        assert found["attention_mask"] == [1] * len(tokens)
        assert tokenizer.decode(found["input_ids"], skip_special_tokens=True).startswith("the cat sat")
    assert set(loaded.model_input_names) == {"input_ids", "token_type_ids", "attention_mask"}
    assert [getattr(loaded, f"{name}_token") for name in ("pad", "unk", "cls", "sep", "mask")] == list(SPECIAL_TOKENS)
    assert any(token.startswith("##") for token in loaded.get_vocab()), "or whole words could not be masked"


def test_the_same_sentences_give_the_same_tokenizer_in_any_order():
    """The library alone numbers characters differently each time: a resumed run would read other ids."""
    first = train_tokenizer(_sentences(), 150).get_vocab()
    assert all(train_tokenizer(_sentences(seed), 150).get_vocab() == first for seed in range(5))


def test_training_a_tokenizer_shows_how_far_it_is(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datasets.utils.tqdm", tqdm)
    train_tokenizer(_sentences(), 150)
    err = capsys.readouterr().err
    assert "Characters: 100%" in err
    assert "Words: 100%" in err


def test_a_trained_tokenizer_knows_how_many_positions_its_model_has(read: dataset.Text):
    small = {"max_position_embeddings": "48", "hidden_size": "12"}
    arguments = NspArguments(from_scratch=True, train_tokenizer=150, model_config=small, max_seq_length=48)
    tokenizer, config = tokenizer_and_config(arguments, ModelArguments(), read)
    assert tokenizer.model_max_length == config.max_position_embeddings == 48


def _refused(message: str, tokenizer: Any, config: Any, **settings: Any) -> None:
    assert refusal(refuse_unfit, NspArguments(**settings), config, tokenizer) == message


NSP_MODELS = "NSP needs a BERT, ERNIE, MobileBERT, FNet or Megatron-BERT model."


@pytest.mark.parametrize(
    ("config", "objective", "hint"),
    [
        (RobertaConfig(), "nsp", NSP_MODELS),
        # Their pretraining classes exist, and have no next-sentence head.
        (RobertaConfig(), "nsp+mlm", NSP_MODELS),
        (AlbertConfig(), "nsp+mlm", NSP_MODELS),
        (ElectraConfig(), "nsp+mlm", NSP_MODELS),
        (GPT2Config(), "mlm", "MLM needs an encoder, such as BERT or RoBERTa."),
    ],
)
def test_a_model_without_the_head_is_refused(config: Any, objective: str, hint: str, tokenizer):
    message = f"a {config.model_type} model has no head for --objective {objective}. {hint}"
    _refused(message, tokenizer, config, objective=objective)


def test_a_model_without_the_head_is_refused_before_text_is_paired(
    read: dataset.Text, tiny_model: Path, tmp_path: Path
):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    RobertaConfig(max_position_embeddings=66).save_pretrained(model)
    arguments = ModelArguments(model_name_or_path=str(model))
    message = refusal(tokenizer_and_config, NspArguments(max_seq_length=32), arguments, read)
    assert message == f"a roberta model has no head for --objective nsp. {NSP_MODELS}"


def test_mlm_needs_a_mask_token(tiny_model: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, mask_token=None)
    _refused(
        "--objective mlm: the tokenizer has no mask token. Use --objective nsp.",
        tokenizer,
        BertConfig(),
        objective="mlm",
    )


def test_whole_words_cannot_be_masked_without_marked_pieces(tokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(tokenizer), "get_vocab", lambda self: {"word": 0})
    _refused(
        "--whole_word_masking: this tokenizer does not mark the pieces of a word with ##, as BERT's does. "
        "Leave it out.",
        tokenizer,
        BertConfig(),
        objective="mlm",
        whole_word_masking=True,
    )


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tiny_model: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    known = len(tokenizer)
    tokenizer.add_tokens(["unheard", "zebras"])
    arguments, config = ModelArguments(model_name_or_path=str(tiny_model)), BertConfig.from_pretrained(tiny_model)
    assert refusal(build_model, NspArguments(), arguments, config, tokenizer) == (
        f"the tokenizer has {known + 2} tokens, the model embeds {known}. {OTHER_TOKENIZER}"
    )
