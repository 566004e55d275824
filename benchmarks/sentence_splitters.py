"""Which library finds the sentences: our splitter and others on hard cases written for this project, and their speed.

pip install pysbd syntok blingfire spacy
python -m benchmarks.sentence_splitters --data FOLDER

`benchmarks/sentences/LANGUAGE.txt` has one case a line, its sentences separated by ` | `. A case counts when exactly
these sentences are found. Libraries that are not installed are left out.
"""

import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import measure
from bertlab.console import info
from bertlab.pretraining.splitters import sentence_splitter

CASES = Path(__file__).resolve().parent / "sentences"
# Written without spaces between sentences.
UNSPACED = ("ja", "zh")
SPEED_CHARACTERS = 200_000

Splitter = Callable[[str], list[str]]


def cases(language: str) -> list[list[str]]:
    """Return the sentences of each case of a language."""
    lines = (CASES / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" | ") for line in lines]


def accuracy(split: Splitter, language: str) -> float:
    """Return the fraction of a language's cases that are split exactly as written."""
    space = "" if language in UNSPACED else " "
    found = [[part.strip() for part in split(space.join(case))] for case in cases(language)]
    return sum(parts == case for parts, case in zip(found, cases(language), strict=True)) / len(found)


def ours(language: str) -> Splitter:
    """Return what run_nsp.py uses."""
    return sentence_splitter("sentencex", language)


def of_sentencex(language: str) -> Splitter:
    """Return sentencex (Wikimedia) as it is."""
    import sentencex

    return lambda text: list(sentencex.segment(language, text))


def of_pysbd(language: str) -> Splitter:
    """Return pySBD, a port of Pragmatic Segmenter's rules."""
    import pysbd

    return pysbd.Segmenter(language=language, clean=False).segment


def of_syntok(language: str) -> Splitter:
    """Return syntok, whose rules are for English, German and Spanish."""
    from syntok import segmenter

    def split(text: str) -> list[str]:
        """Return the sentences of a text."""
        sentences = (sentence for paragraph in segmenter.process(text) for sentence in paragraph)
        return ["".join(token.spacing + token.value for token in sentence) for sentence in sentences]

    return split


def of_blingfire(language: str) -> Splitter:
    """Return BlingFire (Microsoft), one model for all languages."""
    import blingfire

    return lambda text: blingfire.text_to_sentences(text).split("\n")


def of_spacy(language: str) -> Splitter:
    """Return spaCy's sentencizer, which knows punctuation but neither abbreviations nor quotes."""
    import spacy

    pipeline = spacy.blank("xx" if language in UNSPACED else language)  # its own Japanese needs SudachiPy
    pipeline.add_pipe("sentencizer")
    return lambda text: [sentence.text for sentence in pipeline(text).sents]


LIBRARIES: dict[str, Callable[[str], Splitter]] = {
    "sentencex": of_sentencex,
    "pysbd": of_pysbd,
    "syntok": of_syntok,
    "blingfire": of_blingfire,
    "spacy": of_spacy,
}


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    installed = {name: made for name, made in LIBRARIES.items() if importlib.util.find_spec(name)}
    if missing := LIBRARIES.keys() - installed.keys():
        info(f"not installed, so left out: {', '.join(sorted(missing))}.")
    makers = {measure.OURS: ours} | {f"{name} {version(name)}": made for name, made in installed.items()}
    found: dict[str, Any] = {}
    for path in sorted(CASES.glob("*.txt")):
        title = f"{path.stem} ({len(cases(path.stem))} cases)"
        found[title] = {name: accuracy(made(path.stem), path.stem) for name, made in makers.items()}
    text = (where.data / "meditations" / "clean.txt").read_text(encoding="utf-8")[: where.size(SPEED_CHARACTERS, 2000)]
    made_for_english = {name: functools.partial(speed, made("en"), text) for name, made in makers.items()}
    rates = measure.in_turns(made_for_english, where.rounds)
    found["MB per CPU second"] = {name: statistics.median(values) for name, values in rates.items()}
    measure.write(where, "sentence_splitters", found, rounds=where.rounds)
    return 0


def speed(split: Splitter, text: str) -> float:
    """Return megabytes in a second of processor time of splitting the lines of a text."""
    began = time.process_time()
    for line in text.splitlines():
        split(line)
    return len(text.encode()) / 1e6 / (time.process_time() - began)


if __name__ == "__main__":
    sys.exit(main())
