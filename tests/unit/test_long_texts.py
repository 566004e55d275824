"""Texts far longer than a model reads: the same tokens and counts as from the tokenizer, from less of the text."""

import random

import pytest
from running import WORDS
from transformers import AutoTokenizer

from bertlab.data import long_texts


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def small(monkeypatch):
    """Make every limit so small that the texts of a test pass them."""
    monkeypatch.setattr(long_texts, "CHARACTERS_PER_TOKEN", 2)
    monkeypatch.setattr(long_texts, "CHARACTERS_PER_CALL", 300)
    monkeypatch.setattr(long_texts, "PIECE_CHARACTERS", 40)


def texts(rows: int = 60) -> list[str]:
    """Return texts of all lengths, with runs of spaces, marks, Chinese, and words longer than any piece."""
    dice = random.Random(3)
    odd = ["   ", "\n\n", "读书", "x" * 90, "don't", "(sea)", "é" * 30, "."]
    return [" ".join(dice.choices(WORDS + odd, k=dice.choice([0, 1, 5, 20, 80]))) for _ in range(rows)]


def test_the_tokens_are_those_of_the_whole_text(tokenizer, small):
    whole = tokenizer(texts(), truncation=True, max_length=16, return_attention_mask=False)
    assert long_texts.tokenize([texts()], tokenizer, 16).inputs == dict(whole)


def test_a_long_segment_beside_a_short_one_is_cut_as_by_the_tokenizer(tokenizer, small):
    first, second = texts(), ["a dog"] * 60
    for columns in ([first, second], [second, first]):
        whole = tokenizer(*columns, truncation=True, max_length=16, return_attention_mask=False)
        assert long_texts.tokenize(columns, tokenizer, 16).inputs == dict(whole)


@pytest.mark.parametrize("call", [long_texts._call_fast, long_texts._call_slow])
def test_a_segment_that_begins_with_few_tokens_gets_its_half_beside_a_long_one(tokenizer, small, monkeypatch, call):
    """With 14 places each of two long segments gets 7, whichever is the longer one."""
    monkeypatch.setattr(long_texts, "_call_fast", call)
    slow, long = ["the" + " " * 200 + "boy walked " * 30, *texts()], ["a dog " * 30, *texts()[::-1]]
    for columns in ([slow, long], [long, slow]):
        whole = tokenizer(*columns, truncation=True, max_length=17, return_attention_mask=False)
        assert long_texts.tokenize(columns, tokenizer, 17).inputs == dict(whole)


def test_the_count_is_that_of_the_whole_text(tokenizer, small):
    plain = [text for text in texts() if "x" * 90 not in text]  # such a word is one unknown token, cut or not
    for columns in ([plain], [plain, plain[::-1]]):
        whole = tokenizer(*columns, verbose=False)["input_ids"]
        tokens = long_texts.tokenize(columns, tokenizer, 16)
        assert long_texts.full_lengths(columns, tokens, tokenizer) == [len(ids) for ids in whole]


def test_no_text_is_tokenized_twice_to_be_counted(tokenizer, small, monkeypatch):
    words = ["the boy walked on " * 30, "the sea"]
    tokens = long_texts.tokenize([words], tokenizer, 16)
    given, count = [], long_texts.count_tokens
    monkeypatch.setattr(long_texts, "count_tokens", lambda rest, *_: given.extend(rest[0]) or count(rest, *_))
    long_texts.full_lengths([words], tokens, tokenizer)
    assert given == [words[0][tokens.read[0][0] :]]


def test_little_of_a_huge_text_is_read(tokenizer, monkeypatch):
    given = []
    tokens = long_texts._tokens
    monkeypatch.setattr(
        long_texts,
        "_tokens",
        lambda columns, *rest: given.append(sum(map(len, columns[0]))) or tokens(columns, *rest),
    )
    long_texts.tokenize([["the boy walked on the hill " * 100_000]], tokenizer, 64)
    assert given == [pytest.approx(64 * long_texts.CHARACTERS_PER_TOKEN, abs=10)]


def test_a_tokenizer_that_cuts_from_the_left_keeps_the_end(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, truncation_side="left")
    text = "the boy walked " * 1000 + "the sea"
    assert (
        long_texts.tokenize([[text]], tokenizer, 8).inputs["input_ids"][0][-3:-1]
        == tokenizer("the sea").input_ids[1:-1]
    )
