"""From text to token ids: one batched map, without padding, cached by all that changes its result."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.fingerprint import Hasher

from bertlab import __version__, long_texts, processes
from bertlab.arguments import EncodingArguments
from bertlab.data import Data, TextReader, text_columns
from bertlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Columns that follow a row through tokenization: its number, its label, its group.
KEPT_COLUMNS = ("idx", "labels", "source")
# Rows per call of the tokenizer: enough to keep every core busy, little enough to show progress.
MAP_BATCH = 1000


def check_max_length(max_length: int, tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig") -> None:
    """Refuse a maximum that the model has no positions for, or that leaves no room for text.

    Raises:
        UserError: --max_seq_length is out of range.
    """
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    longest = min(positions, tokenizer.model_max_length)
    shortest = tokenizer.num_special_tokens_to_add(pair=True) + 2
    if max_length > longest:
        raise UserError(
            f"--max_seq_length {max_length}: the model has {longest} positions.", f"Use at most {longest}."
        )
    if max_length < shortest:
        raise UserError(f"--max_seq_length {max_length} leaves no room for text.", f"Use at least {shortest}.")


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
    removed = [name for name in split.column_names if name not in KEPT_COLUMNS]

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        return _tokenize(read(batch), tokenizer, max_length)

    key = Hasher.hash([split._fingerprint, tokenizer_digest(tokenizer), max_length, __version__])
    with processes.once_per_machine(split):
        written = (processes.cache_folder(split) or Path()) / f"written-{key}"
        fresh = processes.is_fresh(written, overwrite_cache, started)
        encoded = split.map(
            tokenize,
            batched=True,
            batch_size=MAP_BATCH,
            num_proc=workers if workers and workers > 1 else None,
            remove_columns=removed,
            load_from_cache_file=fresh or not overwrite_cache,
            new_fingerprint=key,
            desc=description,
        )
        if overwrite_cache and not fresh and split.cache_files:
            written.touch()
    return encoded


def encode_all(
    data: Data, tokenizer: "PreTrainedTokenizerBase", arguments: EncodingArguments, started: float = math.inf
) -> dict[str, "Dataset"]:
    """Return every split of a run, begun at `started`, encoded as the arguments say."""
    return {
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


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a hash of everything in a tokenizer that changes its output.

    Truncation and padding are left out: a fast tokenizer remembers them from its last call.
    """
    if not tokenizer.is_fast:
        return Hasher.hash(
            [tokenizer.__class__.__name__, sorted(tokenizer.get_vocab().items()), tokenizer.init_kwargs]
        )
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition["truncation"] = definition["padding"] = None
    return Hasher.hash([definition, tokenizer.truncation_side, tokenizer.padding_side, tokenizer.model_input_names])


def _tokenize(texts: list[list[str]], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> dict[str, list[Any]]:
    encoded = long_texts.tokenize(texts, tokenizer, max_length)
    columns: dict[str, list[Any]] = {k: v for k, v in encoded.items() if k in tokenizer.model_input_names}
    lengths = [len(ids) for ids in columns["input_ids"]]
    columns["length"] = lengths
    columns["full_length"] = _full_lengths(texts, lengths, tokenizer, max_length)
    return columns


def _full_lengths(
    texts: list[list[str]], lengths: list[int], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> list[int]:
    """Return the lengths before truncation; only rows that fill the maximum are tokenized a second time."""
    full = list(lengths)
    rows = [row for row, length in enumerate(lengths) if length >= max_length]
    if rows:
        counts = long_texts.count_tokens([[column[row] for row in rows] for column in texts], tokenizer)
        for row, count in zip(rows, counts, strict=True):
            full[row] = count
    return full
