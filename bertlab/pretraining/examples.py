"""Training rows as the model sees them, printed: tokens, segment ids, what is masked, and the label."""

from typing import TYPE_CHECKING, Any

from bertlab.console import say
from bertlab.data.labels import NO_LABEL
from bertlab.pretraining.dataset import CLASS_NAMES

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


def show(rows: "Dataset", count: int, collate: Any, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Print the first training rows, masked as in the first epoch where tokens are masked."""
    for row in rows.select(range(min(count, len(rows)))):
        batch = {name: values[0].tolist() for name, values in collate([row]).items()}
        tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"])
        say(f"\ntokens: {' '.join(tokens)}")
        if "token_type_ids" in batch:
            say(f"segment ids: {' '.join(map(str, batch['token_type_ids']))}")
        label, *targets = batch["labels"] if isinstance(batch["labels"], list) else [batch["labels"]]
        if targets:
            masked = {at: token for at, token in enumerate(targets) if token != NO_LABEL}
            predicted = zip(masked, tokenizer.convert_ids_to_tokens(list(masked.values())), strict=True)
            say(f"to predict: {', '.join(f'{at} {token}' for at, token in predicted)}")
        if label != NO_LABEL:
            say(f"label: {label} ({CLASS_NAMES[label]})")
