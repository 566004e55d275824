"""The text of a flag's value becomes a value of the flag's type, or is refused."""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bertlab.cli.arguments import Flag, Occurrence
from bertlab.errors import UserError, did_you_mean

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
# What word processors make of two hyphens counts as well.
DASHES = ("-", "\u2013", "\u2014")


def convert(flag: Flag, occurrence: Occurrence) -> Any:
    """Return the typed value of one flag.

    Raises:
        UserError: no value, too many, wrong type, not among the choices, or out of range.
    """
    where, values = occurrence.where, occurrence.values
    if flag.kind == "bool" and not values:
        return True
    if not values or ("" in values and flag.kind in ("str", "Path") and not flag.may_be_empty):
        raise UserError(f"{where} needs a value.", sentence(flag.help))
    if flag.is_json:
        return _json_object(flag, values, where)
    count = flag.count or (None if flag.many else 1)
    if count and len(values) != count:
        takes = "one value" if count == 1 else f"{count} values"
        raise UserError(f"{where} takes {takes}, not {len(values)}: {' '.join(values)}.", _count_hint(flag, values))
    if flag.kind == "dict":
        alone = len(values) == 1 and "=" not in values[0] and bool(flag.words)
        return _one_of(flag.words, values[0], where) if alone else _mapping(flag, values, where)
    converted = [_convert_one(flag, text, where) for text in values]
    return converted if flag.many else converted[0]


def boolean(text: str, where: str) -> bool:
    """Return what `true`, `no`, `on`, `0`… mean.

    Raises:
        UserError: another word.
    """
    if text.lower() not in BOOLEANS:
        raise UserError(f"{where}: {text!r} is neither true nor false.", "Write true, false, or the flag alone.")
    return BOOLEANS[text.lower()]


def number(flag: Flag, text: str, where: str) -> int | float:
    """Return the number of a flag of kind int or float.

    Raises:
        UserError: not a finite number, not a whole one for an int, or out of the flag's range.
    """
    whole = flag.kind == "int"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise UserError(
            f"{where}: {text!r} is not {kind}.", _without_comma(text, whole) or sentence(flag.help)
        ) from None
    if not -math.inf < value < math.inf:
        raise UserError(f"{where}: {text!r} is not a finite number.", sentence(flag.help))
    if value != flag.unset and not _in_range(flag, value):
        small = re.sub(r"[eE]\+?(?=\d)", "e-", text)
        meant = f"Did you mean {small}? " if small != text and _in_range(flag, float(small)) else ""
        raise UserError(f"{where}: {text} is out of range.", f"{meant}It must be {_bounds(flag)}.")
    return value


def _in_range(flag: Flag, value: float) -> bool:
    low, high, above = flag.minimum, flag.maximum, flag.above
    return (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)


def sentence(text: str) -> str:
    """Return a flag's help as a sentence, for a hint."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _count_hint(flag: Flag, values: list[str]) -> str:
    if len(values) > 1 and values[1].startswith(DASHES):
        return "A flag begins with two dashes."
    return "Quote a text with spaces." if flag.kind == "str" else sentence(flag.help)


def _convert_one(flag: Flag, text: str, where: str) -> Any:
    if flag.kind == "bool":
        return boolean(text, where)
    if flag.kind in ("int", "float"):
        return number(flag, text, where)
    if flag.choices:
        return _one_of(flag.choices, text, where)
    if flag.is_path:
        return os.path.expanduser(text)  # noqa: PTH111 (a Path takes one slash of https://)
    return Path(text).expanduser() if flag.kind == "Path" else text


def _one_of(choices: tuple[str, ...], text: str, where: str) -> str:
    if text not in choices:
        raise UserError(f"{where}: {text!r} is not one of its values.", did_you_mean(text, choices))
    return text


def _json_object(flag: Flag, values: list[str], where: str) -> str:
    """Return an object as JSON, from JSON, a file with it, or pairs key=value, as which a recipe's mapping comes.

    Of some of its fields TrainingArguments takes the name of a file for the object itself.
    """
    first, quoted = values[0], "in single quotes, which keep the shell from its double ones: '{\"key\": value}'."
    is_text = first.lstrip().startswith("{")
    is_file = not is_text and Path(first).is_file()
    if not (is_text or is_file) and all("=" in text for text in values):
        return json.dumps({key: _json_value(text) for key, text in _mapping(flag, values, where).items()})
    if len(values) > 1 or not (is_text or is_file):
        given = " ".join(values)
        raise UserError(
            f"{where}: {given!r} is neither a JSON object nor a file.",
            f"Check the path. Write pairs key=value, or an object {quoted}",
        )
    try:
        found = json.loads(first if is_text else Path(first).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{where}: not JSON: {error}.", f"Write an object {quoted}") from None
    if not isinstance(found, dict):
        raise UserError(f"{where}: {first} holds no JSON object.", f"Write one {quoted}")
    return json.dumps(found)


def _json_value(text: str) -> Any:
    """Return the number, true, false or null that a text is in JSON, or the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _without_comma(text: str, whole: bool) -> str:
    """Return a hint for 0,5 in place of 0.5, or 1,000 in place of 1000; else nothing."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+" if whole else r"-?\d+,\d+(e-?\d+)?", text):
        return f"Write {text.replace(',', '' if whole else '.')}."
    return ""


def _bounds(flag: Flag) -> str:
    if flag.above is not None:
        return f"above {flag.above:g}" + (f" and at most {flag.maximum:g}" if flag.maximum is not None else "")
    if flag.maximum is not None:
        return f"from {flag.minimum:.10g} to {flag.maximum:.10g}"
    return f"at least {flag.minimum:g}" + (f", or {flag.unset:g} for none" if flag.unset is not None else "")


def _mapping(flag: Flag, values: Iterable[str], where: str) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UserError(f"{where}: {text!r} is not of the form key=value.", "For example 1=negative 2=positive.")
        if re.search(r",[^,=]+=", value):
            raise UserError(f"{where}: {text!r} is one pair.", f"Separate pairs by spaces: {text.replace(',', ' ')}.")
        item: Any = value
        if flag.numeric:
            item = number(Flag(key, "float", help=flag.help, above=flag.above), value, f"{where} {key}")
        if pairs.setdefault(key, item) != item:
            raise UserError(f"{where}: {key!r} is given twice: {pairs[key]!r} and {item!r}.", "Keep one of them.")
    return pairs
