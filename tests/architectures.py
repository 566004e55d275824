"""Tiny models of every family with random weights, built at every call."""

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
# The architectures of the contract, and what each needs beside the sizes to be as small and to take our vocabulary.
_DECODER = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "decoder_start_token_id": 3}
_ENCODER = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 32}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "bart": {**_ENCODER, **_DECODER},
    "bert": {},
    "big_bird": {"attention_type": "original_full"},
    "camembert": {},
    "canine": {"num_hash_buckets": 64, "local_transformer_stride": 16, "type_vocab_size": 2},
    "convbert": {"embedding_size": 16},
    "data2vec-text": {},
    "deberta": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "deberta-v2": MORE["deberta-v2"],
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "ernie": {},
    "esm": {"token_dropout": False, "mask_token_id": 4},
    "eurobert": {"mask_token_id": 4},
    "flaubert": {"emb_dim": 32, "n_layers": 2, "n_heads": 2},
    "fnet": {},
    "ibert": {},
    "jina_embeddings_v3": {},
    "layoutlm": {"max_2d_position_embeddings": 8},
    "longformer": {"attention_window": 16},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "mbart": {**_ENCODER, **_DECODER},
    "megatron-bert": {},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "modernbert": {},
    "mpnet": {},
    "mra": {},
    "mt5": _T5,
    "nomic_bert": {},
    "nystromformer": {},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": {},
    "roberta-prelayernorm": {},
    "roformer": {"embedding_size": 32},
    "squeezebert": {"embedding_size": 32, "q_groups": 2, "k_groups": 2, "v_groups": 2},
    "t5": _T5,
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 2},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "yoso": {"num_hash": 4},
}
# ALBERT's layers share their weights.
SEPARATE = sorted(set(ARCHITECTURES) - {"albert"})
# In the vocabulary of conftest.tiny_model [PAD] is 0, [CLS] 2 and [SEP] 3; RoBERTa's positions begin behind padding.
_TOKENS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}


def classifier(family: str, classes: int = 2) -> Any:
    """Return a sequence classifier of a family; the same at every call."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(family, **SIZES, **MORE.get(family, {}), num_labels=classes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(config)


def tiny_config(architecture: str, vocab_size: int, positions: int = 65) -> Any:
    """Return the configuration of a model of two layers and hidden size 32 that takes a text of 64 tokens."""
    from transformers import AutoConfig

    own = ARCHITECTURES[architecture]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if any(name in own for name in ("d_model", "dim", "emb_dim")):
        sizes = {}
    limit = {} if architecture in ("xlnet", "t5", "mt5") else {"max_position_embeddings": positions}
    return AutoConfig.for_model(architecture, **{"vocab_size": vocab_size, **sizes, **limit, **_TOKENS, **own})


def of_two_layers(architecture: str, **changes: Any) -> Any:
    """Return a sequence classifier of any architecture; the same at every call."""
    from transformers import AutoModelForSequenceClassification

    config = tiny_config(architecture, vocab_size=40)
    config.update(changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(config)


def layer_number(name: str) -> int | None:
    """Return the layer of a parameter of `of_two_layers`, from 0 up, or None; a decoder's are above its encoder's."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    # CANINE's layers of characters are not the encoder's.
    return None if not numbers or "char_encoder" in name else numbers[0] + 2 * (".decoder." in name)
