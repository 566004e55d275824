"""Texts far longer than a model reads: only their beginning is tokenized, and their tokens are counted in pieces.

A tokenizer works through a whole text before it cuts it: 20 s and 1.7 GB for 10 MB of English (WordPiece), of which
a model sees the first 128 tokens. The functions here give what the tokenizer gives, in memory that follows what the
model reads. They cut between words, which the tokenizers of encoders treat one by one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass
class Tokens:
    """What a tokenizer makes of rows of texts, or of first and second segments.

    `inputs` holds the model's inputs by name, each a list of ids for every row; `read` how many characters of each
    column were tokenized, `counts` how many tokens these are before truncation, or None where that is not known.
    `segments` holds, for a pair that fills the model, how many tokens each segment has in it, or before truncation.
    """

    inputs: dict[str, list[list[int]]]
    read: list[list[int]]
    counts: list[int | None]
    segments: list[list[int]]


def tokenize(columns: Sequence[Sequence[str]], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Tokens:
    """Return texts, or first and second segments, as tokens, cut to `max_length` of them.

    The same as calling the tokenizer with truncation; where it cuts from the left the texts are taken whole. Of two
    segments that are both too long, which one gets the odd place may differ.
    """
    limit = max_length * CHARACTERS_PER_TOKEN if tokenizer.truncation_side == "right" else None
    half = (max_length - tokenizer.num_special_tokens_to_add(pair=True)) // 2
    found = _tokens(_leads(columns, limit), tokenizer, max_length)
    rows: Sequence[int] = range(len(columns[0]))
    while limit is not None and (rows := _unfilled(columns, rows, found, limit, max_length, half)):
        limit *= 2
        again = _tokens(_leads([[column[row] for row in rows] for column in columns], limit), tokenizer, max_length)
        for position, row in enumerate(rows):
            found.counts[row] = again.counts[position]
            found.segments[row] = again.segments[position]
            for column, characters in zip(found.read, again.read, strict=True):
                column[row] = characters[position]
            for name, ids in again.inputs.items():
                found.inputs[name][row] = ids[position]
    return found


def full_lengths(columns: Sequence[Sequence[str]], tokens: Tokens, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return how many tokens each row has untruncated; only what `tokenize` did not count is tokenized for it."""
    counts = tokens.counts
    unread = {
        row
        for column, read in zip(columns, tokens.read, strict=True)
        for row, (text, characters) in enumerate(zip(column, read, strict=True))
        if len(text) > characters
    }
    rows = [row for row, count in enumerate(counts) if count is None or row in unread]
    rest = [
        [column[row][0 if counts[row] is None else read[row] :] for row in rows]
        for column, read in zip(columns, tokens.read, strict=True)
    ]
    full = [count or 0 for count in counts]
    special = tokenizer.num_special_tokens_to_add(pair=len(columns) == 2)
    for row, more in zip(rows, count_tokens(rest, tokenizer), strict=True):
        full[row] += more + (special if counts[row] is None else 0)
    return full


def count_tokens(columns: Sequence[Sequence[str]], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return how many tokens each text, or each pair of segments, has untruncated, without special tokens."""
    pieces = [(row, piece) for column in columns for row, text in enumerate(column) for piece in _pieces(text)]
    counts = [0] * len(columns[0])
    for start, stop in _calls([len(piece) for _, piece in pieces]):
        texts = [piece for _, piece in pieces[start:stop]]
        ids = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        for (row, _), tokens in zip(pieces[start:stop], ids, strict=True):
            counts[row] += len(tokens)
    return counts


def _tokens(columns: Sequence[Sequence[str]], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Tokens:
    """Call the tokenizer on so many rows at a time that its memory stays bounded."""
    call = _call_fast if tokenizer.is_fast else _call_slow
    found = Tokens({}, [[len(text) for text in column] for column in columns], [], [])
    for start, stop in _calls([sum(map(len, row)) for row in zip(*columns, strict=True)]):
        inputs, counts, segments = call([list(column[start:stop]) for column in columns], tokenizer, max_length)
        found.counts.extend(counts)
        found.segments.extend(segments)
        for name, ids in inputs.items():
            found.inputs.setdefault(name, []).extend(ids)
    return found


def _call_fast(
    columns: Sequence[list[str]], tokenizer: Any, max_length: int
) -> tuple[dict[str, list[list[int]]], list[int | None], list[list[int]]]:
    """Return what Tokens holds but `read`, straight from the tokenizer in Rust, without offsets."""
    # One call through transformers sets truncation, padding and special tokens as the tokenizer wants them.
    tokenizer(*(["a"] for _ in columns), truncation=True, max_length=max_length)
    rows = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(rows)
    found = {"input_ids": [encoding.ids for encoding in encodings]}
    if "token_type_ids" in tokenizer.model_input_names:
        found["token_type_ids"] = [encoding.type_ids for encoding in encodings]
    counts = _unfilled_counts(found["input_ids"], max_length)
    segments: list[list[int]] = [[] for _ in rows]
    if len(columns) == 1:
        # What was cut off is still there, in pieces with special tokens of their own; of a pair, in all combinations.
        special = tokenizer.num_special_tokens_to_add(pair=False)
        for row, count in enumerate(counts):
            if count is None:
                counts[row] = max_length + sum(len(piece) - special for piece in encodings[row].overflowing)
    else:
        for row, count in enumerate(counts):
            if count is None:
                segments[row] = [encodings[row].sequence_ids.count(number) for number in (0, 1)]
    return found, counts, segments


def _call_slow(
    columns: Sequence[list[str]], tokenizer: Any, max_length: int
) -> tuple[dict[str, list[list[int]]], list[int | None], list[list[int]]]:
    tokenized = tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False)
    found = {name: ids for name, ids in tokenized.items() if name in tokenizer.model_input_names}
    counts = _unfilled_counts(found["input_ids"], max_length)
    segments: list[list[int]] = [[] for _ in counts]
    filled = [row for row, count in enumerate(counts) if count is None and len(columns) == 2]
    # Such a tokenizer does not say which token is of which segment.
    for column in columns:
        for row, size in zip(filled, count_tokens([[column[row] for row in filled]], tokenizer), strict=True):
            segments[row].append(size)
    return found, counts, segments


def _unfilled_counts(ids: list[list[int]], max_length: int) -> list[int | None]:
    """Return the length of each row, or None where something may have been cut off."""
    return [len(row) if len(row) < max_length else None for row in ids]


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
    columns: Sequence[Sequence[str]], rows: Sequence[int], found: Tokens, limit: int, max_length: int, half: int
) -> list[int]:
    """Return those of the rows of which the model would read on if it were given more than `limit` characters.

    They did not fill the model, or a segment that was cut did not fill its `half` and the other took the rest.
    """
    if all(max(map(len, column), default=0) <= limit for column in columns):  # nearly always, so it is asked first
        return []

    def is_unfilled(row: int) -> bool:
        cut = [len(column[row]) > limit for column in columns]
        short = any(is_cut and size < half for is_cut, size in zip(cut, found.segments[row], strict=False))
        return any(cut) and (len(found.inputs["input_ids"][row]) < max_length or short)

    return [row for row in rows if is_unfilled(row)]


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
