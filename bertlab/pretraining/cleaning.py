"""What text files have beside sentences: page headers, hyphens at line ends, licences; --clean leaves them out."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertlab.console import counted
from bertlab.data.files import open_text
from bertlab.errors import UserError
from bertlab.pretraining.splitters import SMALL_LETTERS

# How many characters of a file are searched for what its pages repeat: about 500 pages.
HEAD_CHARS = 1 << 20
# Where JSON is cut off, its error is at most this many characters before the end (a number, an escape), or an open
# string.
CUT_OFF = 16
# Lines of no more characters that come so often, apart from their numbers, are headers and footers of pages.
HEADER_CHARS, HEADER_REPEATS = 80, 5
# At least this many hyphens at line ends, in more than this share of all lines, are not accidental.
FEW_HYPHENS, HYPHEN_SHARE = 3, 0.03

_LICENCE_START = re.compile(r"\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG")
_LICENCE_END = re.compile(r"\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|^End of (?:the )?Project Gutenberg")
_WIKI_HEADING = re.compile(r"\s*=+ .+ =+\s*")
_HYPHEN = re.compile(rf"\b([^\W\d_]{{2,40}})-[ \t]*\r?\n[ \t]*([{SMALL_LETTERS}]{{2,}})(\S*)[ \t]*")
_COMPOUND = re.compile(r"\b\w{1,40}-\w{1,40}\b")
# Comments may come first. Possessive, as to look for other ends of them would take exponential time.
_MARKUP = re.compile(r"(?:<!--.*?-->\s*)*+<(?:!doctype html|html|\?xml|head|body)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Survey:
    """What the beginning of a file shows: lines that pages repeat, compounds, hyphens at line ends, a licence."""

    headers: frozenset[str]
    compounds: frozenset[str]
    hyphens: int
    lines: int
    licensed: bool


def read_head(path: Path, encoding: str | None = None) -> str:
    """Return the beginning of a text file.

    Raises:
        UserError: it is not plain text: what `open_text` refuses, mark-up, or JSON.
    """
    with open_text(path, encoding) as stream:
        head = stream.read(HEAD_CHARS)
    if kind := _other_kind(head):
        or_replaced = ", or replace the tabs with spaces" * (kind == "a table")
        raise UserError(f"{path} is {kind}, and --text reads plain text.", f"Save its text alone{or_replaced}.")
    return head


def survey(head: str) -> Survey:
    """Return what the beginning of a text file shows."""
    lines = head.splitlines()
    return Survey(
        frozenset(_headers(lines)),
        frozenset(_COMPOUND.findall(head)),
        len(_HYPHEN.findall(head)),
        len(lines),
        bool(_LICENCE_START.search(head)),
    )


def clean_lines(lines: Iterable[str], found: Survey, steps: Sequence[str], counts: Counter[str]) -> Iterator[str]:
    """Yield the lines of a file without what `steps` of --clean leave out, and count that."""
    skips = is_licensed = "gutenberg" in steps and found.licensed
    for line in lines:
        if is_licensed and "project gutenberg" in line.casefold():
            begins, ends = _LICENCE_START.search(line), _LICENCE_END.search(line)
            counts["gutenberg"] += bool(begins)
            skips = bool(ends) or (skips and not begins)
            if begins or ends:
                continue
        if skips:
            continue
        if "headers" in steps and _is_header(line, found):
            counts["headers"] += 1
            yield "\f" if "\f" in line else "\n"
        else:
            yield line


def join_hyphens(text: str, found: Survey, counts: Counter[str]) -> str:
    """Return a text whose words are whole that a hyphen parted at the end of a line; compounds keep theirs."""

    def join(match: re.Match[str]) -> str:
        counts["hyphenation"] += 1
        first, second, rest = match.groups()
        compound = f"{first}-{second}"
        return f"{compound if compound in found.compounds else first + second}{rest}\n"

    return _HYPHEN.sub(join, text)


def remarks(counts: Counter[str], surveys: Sequence[Survey], steps: Sequence[str], unit: str) -> list[str]:
    """Return how much `steps` of --clean changed in texts with this --document_unit, and what others would change."""
    said = [f"--clean {step}: {counted(counts[step], *_DONE[step])}." for step in _DONE if step in steps]
    hyphens, lines = sum(one.hyphens for one in surveys), sum(one.lines for one in surveys)
    if not counts["hyphenation"] and hyphens >= FEW_HYPHENS and hyphens > HYPHEN_SHARE * lines:
        # Where each line is a document, the halves are in two.
        flags = "--clean hyphenation" + " --document_unit block" * (unit == "line")
        said.append(f"{hyphens:,} lines end in a hyphen within a word; {flags} joins the halves.")
    headers = sorted({line for one in surveys for line in one.headers}, key=len)
    if "headers" not in steps and headers:
        shown = ", ".join(f"“{line}”" for line in headers[:3])
        said.append(f"lines such as {shown} look like headers of pages or headings; --clean headers leaves them out.")
    licensed = sum(one.licensed for one in surveys)
    if "gutenberg" not in steps and licensed:
        files = counted(licensed, "file has", "files have")
        said.append(f"{files} the licence of Project Gutenberg around the text; --clean gutenberg leaves it out.")
    return said


_DONE = {
    "gutenberg": ("licence is left out", "licences are left out"),
    "headers": ("line is left out", "lines are left out"),
    "hyphenation": ("word is joined", "words are joined"),
}


def _other_kind(head: str) -> str | None:
    text = head.lstrip()
    if _MARKUP.match(text):
        return "marked-up text"
    if text.startswith("{\\rtf"):
        return "a document of another program"
    if re.match(r'\{|\[\s*[{"]', text):
        try:
            json.JSONDecoder(parse_int=str).raw_decode(text)  # an int has no more than 4,300 digits
        except json.JSONDecodeError as error:
            is_cut_off = error.msg.startswith("Unterminated string") or error.pos > len(text) - CUT_OFF
            return "JSON" if is_cut_off and len(head) == HEAD_CHARS else None
        return "JSON"
    # Rows of as many tabs each.
    rows = text[:4096].split("\n")[:20]
    tabs = {row.count("\t") for row in rows[:-1]}
    return "a table" if len(rows) > 3 and len(tabs) == 1 and tabs != {0} else None


def _is_header(line: str, found: Survey) -> bool:
    text = line.strip()
    return len(text) <= HEADER_CHARS and (_numberless(text) in found.headers or bool(_WIKI_HEADING.fullmatch(text)))


def _headers(lines: Sequence[str]) -> Iterator[str]:
    """Yield, without their numbers, headings of wiki markup and what pages repeat: lines apart that end no sentence."""
    around = zip(["", *lines], lines, [*lines[1:], ""], strict=False)
    apart = (line for before, line, after in around if not before.strip() and not after.strip())
    for line, count in Counter(_numberless(line) for line in apart if len(line.strip()) <= HEADER_CHARS).items():
        repeated = count >= HEADER_REPEATS and line != "" and (line[-1].isalnum() or line[-1] in "#|)]")
        if repeated or _WIKI_HEADING.fullmatch(line):
            yield line


def _numberless(line: str) -> str:
    return re.sub(r"\d+", "#", line.strip())
