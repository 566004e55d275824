"""How many tokens a tokenizer and a model can take."""

import sys
from typing import TYPE_CHECKING

from bertlab.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Families whose positions begin behind that of padding: of RoBERTa's 514 a text can take 512.
COUNTS_FROM_PADDING = frozenset(
    (
        *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "xmod", "luke", "mluke"),
        *("data2vec-text", "roberta-prelayernorm", "ibert", "esm", "markuplm", "lilt", "layoutlmv3"),
    )
)


def check_max_length(max_length: int, tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig") -> None:
    """Raise UserError for a --max_seq_length that the model has no positions for, or that leaves no room for text."""
    longest = longest_input(tokenizer, config)
    shortest = tokenizer.num_special_tokens_to_add(pair=True) + 2
    if max_length > longest:
        raise UserError(f"--max_seq_length {max_length}: the model has {longest} positions.", f"Use at most {longest}.")
    if max_length < shortest:
        raise UserError(f"--max_seq_length {max_length} leaves no room for text.", f"Use at least {shortest}.")


def longest_input(tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig", default: int = sys.maxsize) -> int:
    """Return the number of tokens that both tokenizer and model can take; `default` if the model names no limit."""
    positions = getattr(config, "max_position_embeddings", None) or -1
    if positions < 0:  # XLNet's own way to say that it has no limit
        positions = default
    if config.model_type in COUNTS_FROM_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    return min(positions, tokenizer.model_max_length)
