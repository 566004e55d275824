"""From text to token ids: one batched map, without padding, cached by all that changes its result."""

import json
import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from datasets.fingerprint import Hasher

from bertlab import __version__
from bertlab.cli.arguments import TokenizationArguments
from bertlab.data import cache, long_texts
from bertlab.data.dataset import Data, TextReader, text_columns
from bertlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Columns that follow a row through tokenization: its number, its label, its group.
KEPT_COLUMNS = ("idx", "labels", "source")
# Rows per call of the tokenizer: enough to keep every core busy, little enough to show progress.
MAP_BATCH = 1000
# Whole numbers as datasets itself would keep them: segments in a byte, token ids in four.
TYPES = {"token_type_ids": np.int8}


def encode(
    split: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    *,
    read: TextReader = text_columns,
    workers: int | None = None,
    overwrite_cache: bool = False,
    started: float = math.inf,
    description: str = "Tokenizing",
) -> "Dataset":
    """Return a split as token ids: the tokenizer's columns, `length`, `full_length`, and KEPT_COLUMNS.

    `read` makes texts, or first and second segments, of a batch of rows.
    `length` counts the tokens of a row as the model sees it, `full_length` before truncation to `max_length`.
    The cache is keyed on the text, the tokenizer's whole definition, the maximum and this package's version. One
    process of a machine fills it, the others wait and read; `started` is when the run began, and tells one that
    overwrites the cache what another of its processes has just written.
    """
    kept = [name for name in split.column_names if name in KEPT_COLUMNS]

    def tokenize(batch: pa.Table) -> pa.Table:
        made = _tokenize(read(batch.drop_columns(kept).to_pydict()), tokenizer, max_length)
        return pa.table({**{name: batch[name] for name in kept}, **made})

    key = Hasher.hash([split._fingerprint, tokenizer_digest(tokenizer), max_length, __version__])
    with cache.cache_lock(split):
        written = (cache.cache_folder(split) or Path()) / f"written-{key}"
        fresh = cache.is_fresh(written, overwrite_cache, started)
        # Arrow in, Arrow out: a list of Python numbers for each row would cost as much again as the tokenizer.
        tokenized = split.with_format("arrow").map(
            tokenize,
            batched=True,
            batch_size=MAP_BATCH,
            num_proc=workers if workers and workers > 1 else None,
            remove_columns=split.column_names,
            load_from_cache_file=fresh or not overwrite_cache,
            new_fingerprint=key,
            desc=description,
        )
        if overwrite_cache and not fresh and split.cache_files:
            written.touch()
    return tokenized.with_format(None)


def tokenize_splits(
    data: Data, tokenizer: "PreTrainedTokenizerBase", arguments: TokenizationArguments, started: float = math.inf
) -> dict[str, "Dataset"]:
    """Return every split of a run, begun at `started`, encoded as the arguments say.

    Raises:
        UserError: the tokenizer makes nothing of a whole split.
    """
    tokenized = {
        name: encode(
            split,
            tokenizer,
            arguments.max_seq_length,
            read=data.read,
            workers=arguments.preprocessing_num_workers,
            overwrite_cache=arguments.overwrite_cache,
            started=started,
            description=f"Tokenizing {name}",
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


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a hash of everything in a tokenizer that changes its output.

    Truncation and padding are left out: a fast tokenizer remembers them from its last call.
    """
    if not tokenizer.is_fast:
        return Hasher.hash([tokenizer.__class__.__name__, sorted(tokenizer.get_vocab().items()), tokenizer.init_kwargs])
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition["truncation"] = definition["padding"] = None
    return Hasher.hash(
        [json.dumps(definition), tokenizer.truncation_side, tokenizer.padding_side, tokenizer.model_input_names]
    )


def _tokenize(texts: list[list[str]], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> dict[str, pa.Array]:
    tokens = long_texts.tokenize(texts, tokenizer, max_length)
    rows = tokens.inputs["input_ids"]
    lengths = np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns = {
        name: pa.ListArray.from_arrays(starts, np.fromiter(chain.from_iterable(ids), dtype=TYPES.get(name, np.int32)))
        for name, ids in tokens.inputs.items()
    }
    columns["length"] = pa.array(lengths.astype(np.int64))
    columns["full_length"] = pa.array(long_texts.full_lengths(texts, tokens, tokenizer), pa.int64())
    return columns
