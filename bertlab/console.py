"""What the user reads on the terminal: messages and plain tables, from the first process only."""

import itertools
import logging
import operator
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def error(text: str) -> None:
    """Print what ended the program on stderr, on every process: each may have its own."""
    _print_line("error", redact(text))


def _message(level: str, text: str) -> None:
    if is_first_process():
        _print_line(level, redact(" ".join(text.split())))


def _print_line(level: str, text: str) -> None:
    # The end of the line in the same write: processes of a launcher share the stream.
    print(f"{_level(level)} {text}\n", end="", file=sys.stderr, flush=True)


COLOURS = {"error": 31, "warning": 33}  # red, yellow


def _level(level: str) -> str:
    """Return the word that a message begins with; coloured on a terminal, unless NO_COLOR is set (no-color.org)."""
    coloured = level in COLOURS and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return f"\033[1;{COLOURS[level]}m{level}:\033[0m" if coloured else f"{level}:"


def table_width() -> int:
    """Return how wide a table may be: as the terminal or COLUMNS; in a pipe or file no cell is ever wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else sys.maxsize


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Return rows as aligned columns under a header; numbers right-aligned, floats with four digits.

    Cells wrap where the table would be wider than `table_width`. Where that is not enough, rows become columns, or else
    lists.
    """
    cells = [list(header), *([cell(value) for value in row] for row in rows)]
    right = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(header))]
    turned = list(zip(*cells, strict=True))
    return _grid(cells, right) or _grid(turned, [False] + [True] * len(rows)) or _lists(cells)


def _grid(cells: Sequence[Sequence[str]], right: Sequence[bool]) -> str | None:
    """Return aligned columns under the first row; None where they do not fit."""
    total = table_width() - GAP * (len(right) - 1)
    widths = _widths(cells, total)
    if sum(widths) > total:
        return None
    lines = []
    for row in cells:
        wrapped = [_wrap(text, width) for text, width in zip(row, widths, strict=True)]
        for parts in itertools.zip_longest(*wrapped, fillvalue=""):
            padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(parts, widths, right, strict=True)]
            lines.append((" " * GAP).join(padded).rstrip())
        if row is cells[0]:
            lines.append((" " * GAP).join("-" * width for width in widths))
    return "\n".join(lines)


GAP = 2  # between columns
LONGEST_WORD = 24  # a longer one, such as an address, may be broken anywhere
# Where a cell may be broken: at white space, and after an underscore or slash.
_PIECES = re.compile(r"(\s+|[^\s_/]+[_/]?|[_/])")


def _widths(cells: Sequence[Sequence[str]], total: int) -> list[int]:
    """Return the width of each column: that of its longest cell, the widest narrowed until all fit into the total.

    First headers wrap, then cells between words, and words after an underscore only where that is not enough.
    """
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [_longest(column, str.split) for column in columns]
    headers = [max(_longest(column[:1], str.split), *map(len, column[1:]), 0) for column in columns]
    for least in (headers, words, [_longest(column, _PIECES.findall) for column in columns]):
        while sum(widths) > total and any(map(operator.gt, widths, least)):
            widest = max((width, i) for i, width in enumerate(widths) if width > least[i])[1]
            widths[widest] -= 1
    return widths


def _longest(texts: Iterable[str], split: Callable[[str], list[str]]) -> int:
    return min(LONGEST_WORD, max((len(word) for text in texts for word in split(text)), default=0))


def _wrap(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    wrapper = textwrap.TextWrapper(width)
    wrapper.wordsep_re = _PIECES
    return wrapper.wrap(text)


def _lists(cells: Sequence[Sequence[str]]) -> str:
    """Return the rows one below another, each cell on a line of its own behind the name of its column."""
    name = min(max(map(len, cells[0])), table_width() // 2)
    indent = " " * (name + GAP)
    items = [
        "\n".join(
            textwrap.fill(text, table_width(), initial_indent=f"{title:<{name}}{' ' * GAP}", subsequent_indent=indent)
            for title, text in zip(cells[0], row, strict=True)
        )
        for row in cells[1:]
    ]
    return "\n\n".join(items)


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


def counted(number: int, singular: str, plural: str) -> str:
    """Return a number with the form of a noun, and of its verb, that goes with it."""
    return f"{number:,} {singular if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


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


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Hide the bar "Flattening the indices" of `datasets`, which copies selected rows before it adds a column."""
    import datasets

    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


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
