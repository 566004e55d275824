"""Tiny models of every family with random weights, 3 layers each, built at every call."""

from typing import Any

import torch

FAMILIES = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert")
LAYERS = 3
SIZES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
MORE: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 8},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm"},
    "modernbert": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
}


def classifier(family: str, classes: int = 2) -> Any:
    """Return a sequence classifier of a family; the same at every call."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(family, **SIZES, **MORE.get(family, {}), num_labels=classes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(config)
