"""Text in tables that may be opened in a spreadsheet, which runs a cell that looks like a formula.

Such a cell gets an apostrophe in front, the spreadsheets' own mark for text. Numbers, as -0.5, and a lone sign, as a
class named +, are no formulas and stay as they are. What begins with an apostrophe before a formula gets one more, so
that taking one away gives back every cell as it was.
"""

import re

# The wide forms are taken for formulas in East Asian settings.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def guarded(text: str) -> str:
    """Return a cell that a spreadsheet shows and does not run."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def as_written(cell: str) -> str:
    """Return the text that `guarded` made a cell of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell[1:]) and not _NUMBER.fullmatch(cell[1:]) else cell
