"""Tokenizer and model: loaded, described, adapted."""
