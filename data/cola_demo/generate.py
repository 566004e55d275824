"""Write the three TSVs of the demo acceptability corpus from the frames kept beside this script.

A frame is one line of ``frames_in_domain.txt`` or ``frames_out_of_domain.txt``. It stands for a small
group of sentences that differ in the one point under test, and is written in four notations:

``He plays [the piano well|well the piano].``
    a pair: the first alternative is acceptable, the second is not. Several brackets change together.
``(This|These) (lamp|lamps) broke.``
    a crossing: acceptable when both choices have the same position. It gives its two acceptable sentences
    and one of the two unacceptable ones.
``The horse was afraid of the thunder.``
    a plain frame: one acceptable sentence.
``<man> left <when>.``
    slots, filled from ``FILLERS``, with the same words in every sentence of the frame.

A line ``# code: description`` opens a phenomenon, and its code becomes the source column. A frame goes into
one split as a whole, so that the two sides of a contrast never lie on different sides of the train/dev cut.

Every choice is drawn from a hash of the text it concerns, so the output is the same on every machine and
a change to one frame leaves the choices made for the others alone.

Usage: ``python generate.py`` writes the files; ``python generate.py --check`` only compares.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SEED = 2024
DEV_SHARE = 1 / 6

FILLERS = {
    "man": ("Adam", "Daniel", "David", "George", "Henry", "Martin", "Oliver", "Paul", "Peter", "Tom"),
    "woman": ("Alice", "Anna", "Carol", "Emma", "Helen", "Julia", "Laura", "Maria", "Nina", "Ruth"),
    "when": ("yesterday", "last night", "last week", "on Sunday", "two days ago", "this morning"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
}

SLOT = re.compile(r"<(\w+)>")
PAIR = re.compile(r"\[([^|\]]*)\|([^|\]]*)\]")
CROSS = re.compile(r"\(([^|)]*)\|([^|)]*)\)")


class Frame(NamedTuple):
    """One line of a frame file, with the code of the phenomenon it belongs to."""

    code: str
    text: str


class Row(NamedTuple):
    """One sentence of the corpus."""

    code: str
    acceptable: bool
    sentence: str

    def line(self) -> str:
        """Return the row in CoLA's raw layout: source, label, mark, sentence."""
        label, mark = ("1", "") if self.acceptable else ("0", "*")
        return f"{self.code}\t{label}\t{mark}\t{self.sentence}\n"


def draw(*key: str) -> int:
    """Return a large number that depends on ``SEED`` and ``key`` alone."""
    digest = hashlib.sha256("\n".join((str(SEED), *key)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def read_frames(path: Path) -> list[Frame]:
    """Read the frames of a file, each with the code of the heading above it."""
    frames, code = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            code = line.lstrip("# ").partition(":")[0]
        elif line:
            frames.append(Frame(code, line))
    return frames


def fill_slots(text: str) -> str:
    """Replace the slots of a frame by fillers, the same one wherever a slot comes back."""

    def filler(slot: re.Match[str]) -> str:
        values = FILLERS[slot[1]]
        return values[draw("fill", text, slot[1]) % len(values)]

    return SLOT.sub(filler, text)


def choose(pattern: re.Pattern[str], text: str, picks: Sequence[int]) -> str:
    """Replace the alternations of ``text``, in order, by the alternatives that ``picks`` names."""
    remaining = iter(picks)
    return pattern.sub(lambda match: match[next(remaining) + 1], text)


def tidy(sentence: str) -> str:
    """Close the gaps that empty alternatives leave, and start with a capital."""
    sentence = " ".join(sentence.split())
    return sentence[0].upper() + sentence[1:]


def variants(text: str) -> list[tuple[bool, str]]:
    """Return the labelled sentences of a frame whose slots are filled."""
    if CROSS.search(text):
        mismatch = ((0, 1), (1, 0))[draw("mismatch", text) % 2]
        return [(picks != mismatch, choose(CROSS, text, picks)) for picks in ((0, 0), (1, 1), mismatch)]
    if brackets := len(PAIR.findall(text)):
        return [(pick == 0, choose(PAIR, text, [pick] * brackets)) for pick in (0, 1)]
    return [(True, text)]


def expand(frame: Frame) -> list[Row]:
    """Return the rows that a frame stands for."""
    return [Row(frame.code, good, tidy(text)) for good, text in variants(fill_slots(frame.text))]


def split(frames: Iterable[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Cut the frames into train and dev, taking the same share of each phenomenon for dev."""
    by_code: dict[str, list[Frame]] = {}
    for frame in frames:
        by_code.setdefault(frame.code, []).append(frame)
    train, dev = [], []
    for group in by_code.values():
        group.sort(key=lambda frame: draw("split", frame.text))
        cut = round(len(group) * DEV_SHARE)
        dev += group[:cut]
        train += group[cut:]
    return train, dev


def render(frames: Iterable[Frame]) -> str:
    """Return the text of a TSV: the rows of all frames in a fixed, mixed order."""
    rows = [row for frame in frames for row in expand(frame)]
    rows.sort(key=lambda row: draw("order", row.sentence))
    return "".join(row.line() for row in rows)


def corpus() -> dict[str, str]:
    """Return the text of each file of the corpus by file name."""
    train, dev = split(read_frames(HERE / "frames_in_domain.txt"))
    return {
        "in_domain_train.tsv": render(train),
        "in_domain_dev.tsv": render(dev),
        "out_of_domain_dev.tsv": render(read_frames(HERE / "frames_out_of_domain.txt")),
    }


def differing(files: dict[str, str]) -> list[str]:
    """Return the names of the files whose text on disk is absent or not the expected one."""
    paths = {name: HERE / name for name in files}
    return [
        name
        for name, text in files.items()
        if not paths[name].is_file() or paths[name].read_bytes() != text.encode("utf-8")
    ]


def main() -> int:
    """Write the files, or with ``--check`` report the ones that differ."""
    parser = argparse.ArgumentParser(description="Write the demo acceptability corpus.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    arguments = parser.parse_args()
    files = corpus()
    if arguments.check:
        stale = differing(files)
        for name in stale:
            print(f"{name} differs from what generate.py writes", file=sys.stderr)
        return 1 if stale else 0
    for name, text in files.items():
        (HERE / name).write_bytes(text.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
