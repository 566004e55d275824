"""Text becomes token ids, the same as the tokenizer makes of the whole text, cached; batches are padded no further."""

import random
import re

import numpy as np
import pytest
import torch
from datasets import Dataset
from running import WORDS
from transformers import AutoConfig, AutoTokenizer

from bertlab.cli.arguments import DataArguments, TokenizationArguments
from bertlab.data import dataset, input_length, tokenization
from bertlab.data.labels import SINGLE, LabelSchema
from bertlab.errors import UserError
from bertlab.training.collators import PaddingCollator

TEXTS = ["the cat", "a good book about the sea and the hill", "ok", "the boy walked " * 30]


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Return a list that grows by one entry for each batch that is really tokenized."""
    counted: list[int] = []
    tokenize = tokenization._arrow_columns
    monkeypatch.setattr(
        tokenization, "_arrow_columns", lambda texts, *rest: counted.append(len(texts[0])) or tokenize(texts, *rest)
    )
    return counted


def split(texts: list[str] = TEXTS, **columns) -> Dataset:
    return Dataset.from_dict({"idx": list(range(len(texts))), "line": [0] * len(texts), "text": texts, **columns})


def test_rows_are_as_long_as_their_text_and_keep_what_follows_them(tokenizer):
    tokenized = tokenization.tokenize_split(
        split(labels=[1, 0, 1, 0], source=list("wxyz")), tokenizer, TokenizationArguments(16)
    )
    assert set(tokenized.column_names) == {
        *("idx", "labels", "source", "input_ids", "token_type_ids", "length", "full_length")
    }
    assert tokenized["length"][:] == [4, 11, 4, 16] == [len(ids) for ids in tokenized["input_ids"]]
    assert tokenized["full_length"][:] == [4, 11, 4, 92]
    assert tokenized["labels"][:] == [1, 0, 1, 0] and tokenized["source"][:] == list("wxyz")
    assert tokenized["input_ids"][0] == tokenizer("the cat").input_ids
    assert tokenizer.pad_token_id not in {token for ids in tokenized["input_ids"] for token in ids}


def test_a_row_of_exactly_the_maximum_is_not_truncated(tokenizer):
    tokenized = tokenization.tokenize_split(split(["the cat"]), tokenizer, TokenizationArguments(4))
    assert (tokenized["length"][0], tokenized["full_length"][0]) == (4, 4)


def test_pairs_are_two_segments_cut_together(tokenizer):
    pair = split(["the cat", "the cat " * 20], text_pair=["a dog", "a dog"])
    tokenized = tokenization.tokenize_split(pair, tokenizer, TokenizationArguments(12))
    assert tokenized["input_ids"][0] == tokenizer("the cat", "a dog").input_ids
    assert tokenized["token_type_ids"][0] == [0, 0, 0, 0, 1, 1, 1]
    assert (tokenized["length"][1], tokenized["full_length"][1]) == (12, 45)
    assert tokenized["input_ids"][1][-3:] == [*tokenizer("a dog", add_special_tokens=False).input_ids, 3]


@pytest.fixture
def small(monkeypatch):
    """Make every limit so small that the texts of a test pass them."""
    monkeypatch.setattr(tokenization, "CHARACTERS_PER_TOKEN", 2)
    monkeypatch.setattr(tokenization, "CHARACTERS_PER_CALL", 300)
    monkeypatch.setattr(tokenization, "PIECE", re.compile(r".{1,40}(?!\S)|.{1,40}", re.DOTALL))


def texts_of_all_lengths(rows: int = 60) -> list[str]:
    """Return texts with runs of spaces, marks, Chinese, and words longer than any piece."""
    dice = random.Random(3)
    odd = ["   ", "\n\n", "读书", "x" * 90, "don't", "(sea)", "é" * 30, "."]
    return [" ".join(dice.choices(WORDS + odd, k=dice.choice([0, 1, 5, 20, 80]))) for _ in range(rows)]


@pytest.mark.parametrize("call", [tokenization._call_fast, tokenization._call_slow])
@pytest.mark.parametrize("second", [None, "short", "long"])
def test_tokens_and_counts_are_those_of_the_whole_text(tokenizer, small, monkeypatch, call, second):
    """With 14 places each of two long segments gets 7, even one that begins with a run of spaces."""
    monkeypatch.setattr(tokenization, "_call_fast", call)
    first = ["the" + " " * 200 + "boy walked " * 30, *texts_of_all_lengths()]
    seconds = {"short": ["a dog"] * 61, "long": ["a dog " * 30, *texts_of_all_lengths()[::-1]]}
    columns = [first, *([seconds[second]] if second else [])]
    for part in (columns, columns[::-1]):
        truncated = tokenizer(*part, truncation=True, max_length=17, return_attention_mask=False)
        found = tokenization._arrow_columns(part, tokenizer, 17)
        assert {name: found[name].to_pylist() for name in truncated} == dict(truncated)
        whole = [len(ids) for ids in tokenizer(*part, verbose=False)["input_ids"]]
        plain = [not any("x" * 90 in text for text in row) for row in zip(*part, strict=True)]
        # A word that is longer than a piece is one unknown token, and counted once a piece.
        counted = zip(found["full_length"].to_pylist(), whole, plain, strict=True)
        assert all(count == expected for count, expected, is_plain in counted if is_plain)


def test_no_text_is_tokenized_twice_to_be_counted(tokenizer, small, monkeypatch):
    words = ["the boy walked on " * 30, "the sea"]
    given, count = [], tokenization.token_counts
    monkeypatch.setattr(tokenization, "token_counts", lambda rest, *_: given.extend(rest) or count(rest, *_))
    tokenization._arrow_columns([words], tokenizer, 16)
    assert given == [words[0][len(tokenization._beginning(words[0], 16)) :]]


def test_little_of_a_huge_text_is_read(tokenizer, monkeypatch):
    given, call = [], tokenization._call_fast
    monkeypatch.setattr(
        tokenization, "_call_fast", lambda columns, *rest: given.append(len(columns[0][0])) or call(columns, *rest)
    )
    tokenization.tokenize_texts([["the boy walked on the hill " * 100_000]], tokenizer, 64)
    assert given == [pytest.approx(64 * tokenization.CHARACTERS_PER_TOKEN, abs=10)]


def test_a_tokenizer_that_truncates_from_the_left_keeps_the_end(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, truncation_side="left")
    ids = tokenization.tokenize_texts([["the boy walked " * 1000 + "the sea"]], tokenizer, 8)["input_ids"][0]
    assert ids[-3:-1] == tokenizer("the sea").input_ids[1:-1]


@pytest.fixture
def loaded(tmp_path, write_csv):
    """Return a function that loads a CSV file of these texts, as a run does."""

    def load(texts: list[str]) -> Dataset:
        rows = [[text, "ab"[i % 2]] for i, text in enumerate(texts)]
        path = write_csv(tmp_path / "train.csv", ["text", "label"], rows)
        found = dataset.load_splits(DataArguments(train_file=str(path)), (), training=True, cache_dir=None, token=None)
        return found.splits["train"]

    return load


def test_the_second_run_takes_everything_from_the_cache(loaded, tiny_model, calls):
    arguments = TokenizationArguments(16)
    first = tokenization.tokenize_split(loaded(TEXTS), AutoTokenizer.from_pretrained(tiny_model), arguments)
    used = AutoTokenizer.from_pretrained(tiny_model)
    used(["a cat"] * 2, padding="max_length", truncation=True, max_length=9)  # a tokenizer remembers its last call
    second = tokenization.tokenize_split(loaded(TEXTS), used, arguments)
    assert calls == [4]
    assert first[:] == second[:]


@pytest.mark.parametrize("change", ["length", "text", "tokenizer", "overwrite"])
def test_whatever_changes_the_tokens_misses_the_cache(change, loaded, tiny_model, calls):
    texts = [f"{change} {text}" for text in TEXTS]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    before = tokenization.tokenize_split(loaded(texts), tokenizer, TokenizationArguments(16))
    after = tokenization.tokenize_split(
        loaded([*texts[:3], "another"] if change == "text" else texts),
        AutoTokenizer.from_pretrained(tiny_model, do_lower_case=change != "tokenizer"),
        TokenizationArguments(12 if change == "length" else 16, overwrite_cache=change == "overwrite"),
    )
    assert calls == [4, 4]
    assert (before["input_ids"][:] == after["input_ids"][:]) == (change in ("overwrite", "tokenizer"))


def test_every_split_is_tokenized_as_the_arguments_say(tokenizer):
    schema = LabelSchema(SINGLE, ("a", "b"), {})
    splits = {"a": split(), "b": split(["ok"])}
    whole = dataset.Data(splits, "a", None, ("b",), (), schema, ("accuracy",), {}, {})
    tokenized = tokenization.tokenize_splits(whole, tokenizer, DataArguments(max_seq_length=8))
    assert list(tokenized) == ["a", "b"]
    assert max(tokenized["a"]["length"]) == 8


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (65, "--max_seq_length 65: the model has 64 positions. Use at most 64."),
        (4, "--max_seq_length 4 leaves no room for text. Use at least 5."),
    ],
)
def test_a_maximum_that_does_not_fit_is_refused(length, message, tokenizer, tiny_model):
    with pytest.raises(UserError) as caught:
        input_length.check_max_length(length, tokenizer, AutoConfig.from_pretrained(tiny_model))
    assert str(caught.value) == message


@pytest.mark.parametrize("length", [5, 64])
def test_a_maximum_that_fits_is_accepted(length, tokenizer, tiny_model):
    input_length.check_max_length(length, tokenizer, AutoConfig.from_pretrained(tiny_model))


ROWS = [
    {"input_ids": [2, 7, 3], "token_type_ids": [0, 0, 1], "length": 3, "idx": 0},
    {"input_ids": [2, 3], "token_type_ids": [0, 0], "length": 2, "idx": 1},
]


@pytest.mark.parametrize(
    ("side", "pad_to", "ids", "mask"),
    [
        ("right", None, [[2, 7, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]]),
        ("left", None, [[2, 7, 3], [0, 2, 3]], [[1, 1, 1], [0, 1, 1]]),
        ("right", 4, [[2, 7, 3, 0], [2, 3, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]]),
        ("left", 4, [[0, 2, 7, 3], [0, 0, 2, 3]], [[0, 1, 1, 1], [0, 0, 1, 1]]),
    ],
)
def test_batches_are_padded_to_their_longest_row(tiny_model, side, pad_to, ids, mask):
    batch = PaddingCollator(AutoTokenizer.from_pretrained(tiny_model, padding_side=side), pad_to, fixed=True)(ROWS)
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask"}
    assert batch["input_ids"].tolist() == ids
    assert batch["attention_mask"].tolist() == mask
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([1, 0], torch.int64),
        ([1, -100], torch.int64),
        ([0.5, 3.0], torch.float32),
        ([[0.0, 1.0], [1.0, 1.0]], torch.float32),
        ([np.float64("nan"), 1.0], torch.float32),
    ],
)
def test_labels_keep_their_kind(tokenizer, labels, dtype):
    batch = PaddingCollator(tokenizer)([{**row, "labels": label} for row, label in zip(ROWS, labels, strict=True)])
    assert batch["labels"].dtype == dtype
    np.testing.assert_array_equal(batch["labels"].numpy(), np.asarray(labels, dtype=batch["labels"].numpy().dtype))


def test_the_collator_agrees_with_the_tokenizers_own_padding(tokenizer):
    ours = PaddingCollator(tokenizer)([dict(tokenizer(text, truncation=True, max_length=20)) for text in TEXTS])
    theirs = tokenizer(TEXTS, truncation=True, max_length=20, padding=True, return_tensors="pt")
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
