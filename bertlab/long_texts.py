"""Texts far longer than a model reads: only their beginning is tokenized, and their tokens are counted in pieces.

A tokenizer works through a whole text before it cuts it: 20 s and 1.7 GB for 10 MB of English (WordPiece), of which
a model sees the first 128 tokens. The functions here give what the tokenizer gives, in memory that follows what the
model reads. They cut between words, which the tokenizers of encoders treat one by one.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Characters tokenized for each token the model reads, at first; English has 4 to 5 a token. What does not fill the
# model is done again with twice as many.
CHARACTERS_PER_TOKEN = 16
# A tokenizer holds about 170 bytes for each character that it is given in one call.
CHARACTERS_PER_CALL = 500_000
PIECE_CHARACTERS = 100_000
# White space that ends a word: the piece after the cut begins with it, as tokenizers that mark it expect.
_WORD_END = re.compile(r"(?<=\S)\s")


def tokenize(
    columns: Sequence[Sequence[str]], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> dict[str, list[Any]]:
    """Return the token columns (rows of ids) of texts, or of first and second segments, cut to `max_length` tokens.

    The same as calling the tokenizer with truncation; where it cuts from the left the texts are taken whole. Of two
    segments that are both too long, which one gets the odd place may differ.
    """
    limit = max_length * CHARACTERS_PER_TOKEN if tokenizer.truncation_side == "right" else None
    found = _ids(_leads(columns, limit), tokenizer, max_length)
    rows: Sequence[int] = range(len(columns[0]))
    while limit is not None and (rows := _unfilled(columns, rows, found, limit, max_length)):
        limit *= 2
        again = _ids(_leads([[column[row] for row in rows] for column in columns], limit), tokenizer, max_length)
        for name, values in again.items():
            for row, ids in zip(rows, values, strict=True):
                found[name][row] = ids
    return found


def count_tokens(columns: Sequence[Sequence[str]], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return how many tokens each text, or each pair of segments, has untruncated, special tokens included."""
    pieces = [(row, piece) for column in columns for row, text in enumerate(column) for piece in _pieces(text)]
    counts = [tokenizer.num_special_tokens_to_add(pair=len(columns) == 2)] * len(columns[0])
    for start, stop in _calls([len(piece) for _, piece in pieces]):
        texts = [piece for _, piece in pieces[start:stop]]
        ids = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        for (row, _), tokens in zip(pieces[start:stop], ids, strict=True):
            counts[row] += len(tokens)
    return counts


def _ids(
    columns: Sequence[Sequence[str]], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> dict[str, list[Any]]:
    """Call the tokenizer on so many rows at a time that its memory stays bounded."""
    inputs = _fast_inputs if tokenizer.is_fast else _slow_inputs
    found: dict[str, list[Any]] = {}
    for start, stop in _calls([sum(map(len, row)) for row in zip(*columns, strict=True)]):
        part = [list(column[start:stop]) for column in columns]
        for name, ids in inputs(part, tokenizer, max_length).items():
            found.setdefault(name, []).extend(ids)
    return found


def _fast_inputs(columns: Sequence[list[str]], tokenizer: Any, max_length: int) -> dict[str, list[list[int]]]:
    """Return the model's inputs by name, straight from the tokenizer in Rust, without places in the text."""
    # One call through transformers sets truncation, padding and special tokens as the tokenizer wants them.
    tokenizer(*(["a"] for _ in columns), truncation=True, max_length=max_length)
    rows = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(rows)
    found = {"input_ids": [encoding.ids for encoding in encodings]}
    if "token_type_ids" in tokenizer.model_input_names:
        found["token_type_ids"] = [encoding.type_ids for encoding in encodings]
    return found


def _slow_inputs(columns: Sequence[list[str]], tokenizer: Any, max_length: int) -> dict[str, list[list[int]]]:
    encoded = tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False)
    return {name: ids for name, ids in encoded.items() if name in tokenizer.model_input_names}


def _calls(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of stretches of at most CHARACTERS_PER_CALL, or of one row that is larger."""
    start = total = 0
    for stop, size in enumerate(sizes):
        if total + size > CHARACTERS_PER_CALL and stop > start:
            yield start, stop
            start, total = stop, 0
        total += size
    if sizes:
        yield start, len(sizes)


def _unfilled(
    columns: Sequence[Sequence[str]], rows: Sequence[int], found: dict[str, list[Any]], limit: int, max_length: int
) -> list[int]:
    """Return those of the rows that were cut at `limit` characters and did not fill the model."""
    return [
        row
        for row in rows
        if len(found["input_ids"][row]) < max_length and any(len(column[row]) > limit for column in columns)
    ]


def _leads(columns: Sequence[Sequence[str]], limit: int | None) -> Sequence[Sequence[str]]:
    if limit is None:
        return columns
    return [[text if len(text) <= limit else text[: _cut(text, 0, limit)] for text in column] for column in columns]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = _cut(text, start, start + PIECE_CHARACTERS)
        yield text[start:end]
        start = end
    yield text[start:]


def _cut(text: str, start: int, limit: int) -> int:
    """Return the last place in the second half before `limit` where a word ends, or `limit` without any."""
    return max((found.start() for found in _WORD_END.finditer(text, (start + limit) // 2, limit)), default=limit)
