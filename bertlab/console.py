"""What the user reads on the terminal: messages and plain tables, from the first process only."""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar


def is_first_process() -> bool:
    """Return True on the one process of a run that prints and writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def say(text: str = "") -> None:
    """Print a line on stdout, on the first process."""
    if is_first_process():
        print(text, flush=True)


def info(text: str) -> None:
    """Print what the program has done or inferred on stderr, on the first process."""
    _message("info", text)


def warning(text: str) -> None:
    """Print what is doubtful, with what the user can do about it, on stderr, on the first process."""
    _message("warning", text)


def _message(level: str, text: str) -> None:
    if is_first_process():
        print(f"{level}: {redact(' '.join(text.split()))}", file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Return rows as aligned columns under a header; numbers right-aligned, floats with four digits."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    right = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> str:
    """Return rows as a Markdown table under a header; `right` are the right-aligned columns."""
    to_right = set(right)
    rule = ["---:" if column in to_right else "---" for column in range(len(header))]
    # A bar would start a new cell, and a line break a new row.
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:]))


def cell(value: object) -> str:
    """Return the text of a cell: floats with four digits, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' progress bars and its table of new weights, which `info` names in one line.

    Downloads keep their progress bars: those are huggingface_hub's.
    """
    import transformers

    logger = logging.getLogger("transformers.modeling_utils")
    hook = transformers.logging.set_tqdm_hook(lambda bar, args, options: bar(*args, **{**options, "disable": True}))
    logger.addFilter(_is_no_load_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_load_report)
        transformers.logging.set_tqdm_hook(hook)


def _is_no_load_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()


SECRET_FLAGS = ("token", "hub_token")
HIDDEN = "***"
# Environment variables with secrets: HF_TOKEN, WANDB_API_KEY, COMET_API_KEY…
_SECRET_VARIABLE = re.compile(r"(TOKEN|API_KEY|PASSWORD|SECRET)$")
# A token of the Hub, a header with one, a password in a proxy's address.
_SECRET_SHAPE = re.compile(r"\bhf_\w{8,}|(?<=Bearer )[^\s'\"]+|(?<=://)[^\s/@]+:[^\s/@]+(?=@)")
# Shorter values would redact ordinary words.
_SHORTEST_SECRET = 8
# Tokens from flags and recipes, forgotten with the context in which `entry_point` runs a command.
_given_secrets: ContextVar[frozenset[str]] = ContextVar("given_secrets", default=frozenset())


def hide(secret: str) -> None:
    """Keep a token that was given by a flag out of every message of this context."""
    _given_secrets.set(_given_secrets.get() | {secret})


def redact(text: str) -> str:
    """Return a message without secrets: given by flags, in the environment, or of the shape of one."""
    named = (value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name))
    for secret in sorted({*_given_secrets.get(), *named}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return _SECRET_SHAPE.sub(HIDDEN, text)
