"""Sequences: no length, one without room for text, one above the model's positions, text that comes to nothing."""

from bad_input import GOOD_FILES, Case, refused

CASES: list[Case] = [
    refused("length 0", "--max_seq_length 0", "--max_seq_length: 0 is out of range", obeys="--max_seq_length 8"),
    refused(
        "length without room",
        "--max_seq_length 3",
        "--max_seq_length 3 leaves no room",
        "Use at least",
        obeys="--max_seq_length 5",
    ),
    refused(
        "length above the positions",
        "--max_seq_length 65",
        "--max_seq_length 65",
        "64 positions",
        "at most 64",
        obeys="--max_seq_length 64",
    ),
    refused(
        "length by its old name", "--max_length 65", "--max_seq_length 65", "64 positions", obeys="--max_seq_length 64"
    ),
    refused("length in words", "--max_seq_length short", "'short' is not a whole number"),
    refused(
        "all text is nothing to the tokenizer",
        "",
        "train.csv",
        "no tokens",
        files={"train.csv": "text,label\n\u200b,good\n\u200d,bad\n"},
        obeys="--tokenizer_name {model}",
        mends={"train.csv": GOOD_FILES["train.csv"]},
    ),
    refused(
        "nsp length 0",
        "--max_seq_length 0",
        "--max_seq_length",
        "at least 1",
        command="nsp",
        obeys="--max_seq_length 16",
    ),
    refused(
        "nsp length above the positions",
        "--max_seq_length 512",
        "64 positions",
        command="nsp",
        obeys="--max_seq_length 64",
    ),
    refused(
        "check length above the positions",
        "--max_seq_length 512",
        "64 positions",
        command="check",
        obeys="--max_seq_length 64",
    ),
]
