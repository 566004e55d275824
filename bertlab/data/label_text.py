"""How a written label is read: as a number, as several labels, as none; and which spellings are the same."""

import ast
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

# 1.0 is how some programs write the whole number 1 once a column has had an empty cell.
WHOLE = re.compile(r"^([+-]?\d+)\.0+$")
LEADING_ZEROS = re.compile(r"^0+(?=\d+$)")
DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
# A comma that may separate thousands as well.
THOUSANDS = re.compile(r"[+\u2212-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
# A list as a program writes it into a cell, a tuple, or a set.
LIST = re.compile(r"\[(.*[',\"].*|[01. ]*)\]|\(['\"\d].*\)|\{['\"][^:]*\}", re.DOTALL)
# What programs and annotators write where there is no label. Of these a user may well call a class `none`; a program
# writes None.
NO_GOLD = "-1"
NOTHING = {"nan", "nat", "null", "none", "nil", "n/a", "na", "#n/a", "#na", "<na>", "-", "--", "---", "?", "", "[]"}
NOTHING |= {"undefined", "(blank)", "(empty)", "(null)", "#value!", "#ref!", "#name?", "#num!", "#null!", "#div/0!"}
ZERO_ONE = dict.fromkeys(("0", "0.", "0.0", "false"), 0.0) | dict.fromkeys(("1", "1.", "1.0", "true"), 1.0)


def as_number(label: Any) -> float | None:
    """Return the finite number that a label is, with a decimal point or comma, or None."""
    try:
        number = float(DECIMAL_COMMA.sub(r"\1.\2", label.replace("\u2212", "-")))
    except (ValueError, AttributeError):
        return None
    return number if math.isfinite(number) and "_" not in label else None


def are_decimals(labels: Iterable[str]) -> bool:
    """Return True if all labels are numbers, and one is not a whole number."""
    numbers = [as_number(label) for label in labels]
    return all(n is not None for n in numbers) and any(n is not None and n != int(n) for n in numbers)


def as_whole(label: str) -> str:
    """Return a label without the .0 of a whole number."""
    return WHOLE.sub(r"\1", label)


def fold(name: str) -> str:
    """Return a name without what is hard to see: case, spaces, Unicode form, invisible characters, the 0 of 1.0."""
    seen = (char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
    return LEADING_ZEROS.sub(
        "", as_whole(" ".join("".join(seen).replace("\ufe0f", "").casefold().replace("i\u0307", "i").split()))
    )


def says_nothing(label: str) -> bool:
    """Return True for what stands where there is no label: NULL, n/a, a dash, -1."""
    return label.casefold() in NOTHING or is_no_gold(label)


def is_no_gold(label: Any) -> bool:
    """Return True for -1, as GLUE and `datasets` mark a test row without a label; pandas may write -1.0."""
    return isinstance(label, str) and as_whole(label) == NO_GOLD


def split_label(label: Any, delimiter: str | None = None) -> list[str]:
    """Return the labels of a row, whatever the kind; `delimiter` separates those of a cell, "[" lists written whole."""
    if label is None or isinstance(label, list):
        return label or []
    if delimiter is None:
        return [label]
    parts = _listed(label) if delimiter == "[" else label.split(delimiter)
    return [part for part in (part.strip() for part in parts) if part]


def _listed(label: str) -> list[str]:
    """Return the items of a list that a program has written as text: ['a', 'b'], ["a"], [a, b], [1 0]."""
    inside = label.strip("[] ")
    if not re.search(r"['\"]\s+['\"]", inside):  # NumPy writes no commas, and Python would join the words
        with suppress(ValueError, SyntaxError, TypeError):
            return [str(item) for item in ast.literal_eval(label)]
    quoted = re.findall(r"(['\"])(.*?)\1", inside)
    if quoted:
        return [item for _, item in quoted]
    return inside.split("," if "," in inside else None)


def is_dropped(label: Any, dropped: Sequence[str], delimiter: str | None = None) -> bool:
    """Return True for a label, or a list with one, that --drop_labels names; -1, - and nan mean empty cells as well."""
    left_out = {as_whole(name) for name in dropped}
    if label is None:
        return any(map(says_nothing, left_out))
    whole = [label] if isinstance(label, str) else []
    return bool(left_out) and any(as_whole(name) in left_out for name in (*whole, *split_label(label, delimiter)))
