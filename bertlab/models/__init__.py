"""Tokenizer and model: loading, parts, surgery, LoRA."""
