"""From text to token ids: truncated, counted, not padded, and cached by all that changes them.

A tokenizer works through a whole text before it truncates it: 20 s and 1.7 GB for 10 MB of English (WordPiece), of
which a model reads the first 128 tokens. So only as much of a text as fills the model is tokenized for it, and what
is left is counted in pieces.
"""

import json
import math
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bertlab import __version__
from bertlab.cli.arguments import TokenizationArguments
from bertlab.console import warning
from bertlab.data import cache
from bertlab.data.batching import consecutive_batches
from bertlab.data.dataset import Data, TextReader, text_columns
from bertlab.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# Texts, or first and second segments; and the model's inputs by name, a list of ids for each row.
Columns: TypeAlias = Sequence[Sequence[str]]
Inputs: TypeAlias = dict[str, list[list[int]]]

# Columns that follow a row through tokenization: its number, its label, its source.
KEPT_COLUMNS = ("idx", "labels", "source")
# Rows per call of `map`: enough to keep every core busy, few enough to show progress.
MAP_BATCH = 1000
# Characters that are first taken of a text for each token that the model reads; English has 4 to 5 a token.
CHARACTERS_PER_TOKEN = 16
# A tokenizer holds about 170 bytes for each character that it is given in one call.
CHARACTERS_PER_CALL = 500_000
# Above this fraction of unknown tokens a warning says that the model cannot tell words apart.
UNKNOWN_FRACTION = 0.1
# Long texts are counted in pieces that begin with the space before a word, as tokenizers that mark it expect.
PIECE = re.compile(r".{1,100000}(?!\S)|.{1,100000}", re.DOTALL)


def tokenize_split(
    split: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    arguments: TokenizationArguments,
    *,
    read: TextReader = text_columns,
    started: float = math.inf,
    description: str = "Tokenizing",
) -> "Dataset":
    """Return a split as token ids: the tokenizer's columns, `length`, `full_length`, and KEPT_COLUMNS.

    `read` makes texts, or first and second segments, of a batch of rows. `length` counts the tokens of a row as the
    model sees it, `full_length` before truncation to --max_seq_length. The cache is keyed on the text, the tokenizer's
    whole definition, the maximum and this package's version. One process of a machine fills it, the others wait and
    read; `started` is when the run began: with --overwrite_cache, what is younger comes from another of its processes.
    """
    import pyarrow as pa
    from datasets.fingerprint import Hasher

    max_length, workers = arguments.max_seq_length, arguments.preprocessing_num_workers
    kept = [name for name in split.column_names if name in KEPT_COLUMNS]

    def tokenize(batch: pa.Table) -> pa.Table:
        columns = _arrow_columns(read(batch.drop_columns(kept).to_pydict()), tokenizer, max_length)
        return pa.table({**{name: batch[name] for name in kept}, **columns})

    key = Hasher.hash([split._fingerprint, tokenizer_digest(tokenizer), max_length, __version__])
    with cache.cache_lock(split):
        written = (cache.cache_folder(split) or Path()) / f"written-{key}"
        fresh = cache.is_fresh(written, arguments.overwrite_cache, started)
        # Arrow in, Arrow out: a list of Python numbers for each row would cost as much again as the tokenizer.
        tokenized = split.with_format("arrow").map(
            tokenize,
            batched=True,
            batch_size=MAP_BATCH,
            num_proc=workers if workers and workers > 1 else None,
            remove_columns=split.column_names,
            load_from_cache_file=fresh or not arguments.overwrite_cache,
            new_fingerprint=key,
            desc=description,
        )
        if arguments.overwrite_cache and not fresh and split.cache_files:
            written.touch()
    return tokenized.with_format(None)


def tokenize_splits(
    data: Data, tokenizer: "PreTrainedTokenizerBase", arguments: TokenizationArguments, started: float = math.inf
) -> dict[str, "Dataset"]:
    """Return every split of a run, begun at `started`, tokenized as the arguments say.

    Raises:
        UserError: the tokenizer makes no tokens of any text of a split.
    """
    tokenized = {
        name: tokenize_split(
            split, tokenizer, arguments, read=data.read, started=started, description=f"Tokenizing {name}"
        )
        for name, split in data.splits.items()
    }
    empty = tokenizer.num_special_tokens_to_add(pair=False)
    for name, split in tokenized.items():
        if len(split) and max(split["length"][:]) <= empty:
            raise UserError(
                f"{data.origin[name]}: the tokenizer makes no tokens of any text.",
                "Check --text_column_names and --tokenizer_name.",
            )
    return tokenized


def tokenize_texts(columns: Columns, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Inputs:
    """Return the model's inputs for texts, or first and second segments: by name a list of ids for each row.

    The same as calling the tokenizer with truncation, without attention mask, in memory that follows `max_length`. Of
    two segments that are both too long, which one gets the odd place may differ.
    """
    return _tokenize(_beginnings(columns, tokenizer, max_length), tokenizer, max_length)[0]


def token_counts(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return how many tokens each text has, without special tokens and before truncation."""
    pieces = [(row, piece) for row, text in enumerate(texts) for piece in PIECE.findall(text)]
    counts = [0] * len(texts)
    for batch in consecutive_batches([len(piece) for _, piece in pieces], CHARACTERS_PER_CALL):
        part = [pieces[index][1] for index in batch]
        ids = tokenizer(part, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        for index, tokens in zip(batch, ids, strict=True):
            counts[pieces[index][0]] += len(tokens)
    return counts


def count_tokens(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int]:
    """Return how many tokens texts have, and how many of them are unknown."""
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return sum(map(len, rows)), sum(row.count(tokenizer.unk_token_id) for row in rows)


def warn_if_unknown(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> None:
    """Warn where the tokenizer does not know many of the tokens of some texts."""
    tokens, unknown = count_tokens(texts, tokenizer)
    warn_of_unknown(unknown / max(1, tokens))


def warn_of_unknown(share: float, split: str = "") -> None:
    """Warn where more than UNKNOWN_FRACTION of the tokens, of a `split` such as "train: ", are unknown."""
    if share > UNKNOWN_FRACTION:
        warning(
            f"{split}{share:.0%} of the tokens are unknown to this tokenizer: the model does not see what they are. "
            "Choose a model of this language, or a multilingual one."
        )


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a hash of everything in a tokenizer that changes its output.

    Truncation and padding are left out: a fast tokenizer remembers them from its last call.
    """
    from datasets.fingerprint import Hasher

    if not tokenizer.is_fast:
        vocabulary = sorted(tokenizer.get_vocab().items())
        return str(Hasher.hash([tokenizer.__class__.__name__, vocabulary, tokenizer.init_kwargs]))
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition["truncation"] = definition["padding"] = None
    sides = (tokenizer.truncation_side, tokenizer.padding_side)
    return str(Hasher.hash([json.dumps(definition), *sides, tokenizer.model_input_names]))


def _arrow_columns(columns: Columns, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> dict[str, "pa.Array"]:
    """Return inputs, `length` and `full_length` of a batch; token types in a byte, ids in four, as `datasets` does."""
    import pyarrow as pa

    beginnings = _beginnings(columns, tokenizer, max_length)
    inputs, counts = _tokenize(beginnings, tokenizer, max_length)
    lengths = np.fromiter(map(len, inputs["input_ids"]), dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    arrow = {}
    for name, ids in inputs.items():
        dtype = np.int8 if name == "token_type_ids" else np.int32
        arrow[name] = pa.ListArray.from_arrays(starts, np.fromiter(chain.from_iterable(ids), dtype=dtype))
    full = _full_lengths(columns, beginnings, counts, tokenizer)
    return {**arrow, "length": pa.array(lengths), "full_length": pa.array(full, pa.int64())}


def _beginnings(columns: Columns, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Columns:
    """Return of every text as much as fills the model; all of it where truncation keeps the end."""
    if tokenizer.truncation_side == "left":
        return columns
    return [[_beginning(text, max_length) for text in column] for column in columns]


def _beginning(text: str, max_length: int) -> str:
    """Return a text up to the end of a word, with at least `max_length` words: no tokenizer makes fewer tokens."""
    size = max_length * CHARACTERS_PER_TOKEN
    while size < len(text):
        beginning = text[:size].rsplit(None, 1)[0]
        if len(beginning.split()) >= max_length:
            return beginning
        size *= 2
    return text


def _tokenize(
    columns: Columns, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[Inputs, list[int | None]]:
    """Return truncated inputs, and how many tokens each row had before, or None where that is not known."""
    call = _call_fast if tokenizer.is_fast else _call_slow
    inputs: Inputs = {}
    counts: list[int | None] = []
    characters = [sum(map(len, row)) for row in zip(*columns, strict=True)]
    for rows in consecutive_batches(characters, CHARACTERS_PER_CALL):
        part = [list(column[rows[0] : rows[-1] + 1]) for column in columns]
        part_inputs, part_counts = call(part, tokenizer, max_length)
        counts += part_counts
        for name, ids in part_inputs.items():
            inputs.setdefault(name, []).extend(ids)
    return inputs, counts


def _call_fast(columns: list[list[str]], tokenizer: Any, max_length: int) -> tuple[Inputs, list[int | None]]:
    """Call the tokenizer in Rust: without offsets, which take as long again for short texts."""
    # One call through transformers sets truncation, padding and special tokens as the tokenizer wants them.
    tokenizer(*(["a"] for _ in columns), truncation=True, max_length=max_length)
    rows = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(rows)
    inputs = {"input_ids": [encoding.ids for encoding in encodings]}
    if "token_type_ids" in tokenizer.model_input_names:
        inputs["token_type_ids"] = [encoding.type_ids for encoding in encodings]
    counts = _counts(inputs, max_length)
    if len(columns) == 1:  # of a pair, what was truncated comes in all combinations
        special = tokenizer.num_special_tokens_to_add(pair=False)
        for row, count in enumerate(counts):
            if count is None:
                counts[row] = max_length + sum(len(more) - special for more in encodings[row].overflowing)
    return inputs, counts


def _call_slow(columns: list[list[str]], tokenizer: Any, max_length: int) -> tuple[Inputs, list[int | None]]:
    inputs = dict(tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False))
    return inputs, _counts(inputs, max_length)


def _counts(inputs: Inputs, max_length: int) -> list[int | None]:
    """Return the length of each row, or None where something may have been truncated."""
    return [len(ids) if len(ids) < max_length else None for ids in inputs["input_ids"]]


def _full_lengths(
    columns: Columns, beginnings: Columns, counts: Sequence[int | None], tokenizer: "PreTrainedTokenizerBase"
) -> list[int]:
    """Return how many tokens each row has untruncated; only what was not counted yet is tokenized for it."""
    special = tokenizer.num_special_tokens_to_add(pair=len(columns) == 2)
    full = [special if count is None else count for count in counts]
    for column, beginning in zip(columns, beginnings, strict=True):
        rest = [
            text if count is None else text[len(part) :]
            for text, part, count in zip(column, beginning, counts, strict=True)
        ]
        rows = [row for row, text in enumerate(rest) if text]
        for row, more in zip(rows, token_counts([rest[row] for row in rows], tokenizer), strict=True):
            full[row] += more
    return full
