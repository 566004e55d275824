"""Plain text as people have it: read, cleaned, or refused with a hint that then works."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bertlab.cli import parser, recipes
from bertlab.cli.arguments import ModelArguments, NspArguments, RunArguments
from bertlab.errors import UserError
from bertlab.pretraining import dataset

LETTERS = "abcdefghjklmno"
TOPICS = ("cat", "dog", "sun", "sea", "book", "film", "bread", "door")
# Numbers in words would be unknown to the tiny vocabulary, letters are not.
SENTENCES = [f"The {noun} is {letter} and {noun}." for noun in TOPICS for letter in LETTERS]
VERSE = [f"and the {noun} was {letter}" for noun in TOPICS for letter in LETTERS]
HALVES = (("a.txt", SENTENCES[:56]), ("b.txt", SENTENCES[56:]))
START, END = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK A BOOK ***" for word in ("START", "END"))
LICENCE = "This file is free. You may copy it."


def blocks(lines: Sequence[str], size: int = 4, within: str = " ") -> str:
    """Return lines as paragraphs of some each."""
    return "\n\n".join(within.join(lines[at : at + size]) for at in range(0, len(lines), size)) + "\n"


def pages(lines: Sequence[str]) -> str:
    return "".join(
        f"Annual report\n\n{line}\n\nPage {n} of {len(lines)}\n\f" for n, line in enumerate(blocks(lines).split("\n\n"))
    )


@dataclass(frozen=True)
class Case:
    """Files and flags of a run, what is printed, and sentences that are or are not read.

    With a `hint` the flags alone are refused with a line that holds `says` and the hint, whose flags then read the
    text; `refused` is for what no flag reads.
    """

    name: str
    flags: str
    files: dict[str, str]
    says: str = ""
    hint: str = ""
    has: tuple[str, ...] = ()
    has_not: tuple[str, ...] = ()
    count: int | None = None
    refused: bool = field(default=False)


BLOCKS = "--text a.txt --document_unit block"
HYPHENS = blocks([*SENTENCES[:-4], *["The di-\nnner was a well-\nknown one.", "A well-known do-\nor is he-\nre."] * 2])
CASES = [
    # What is no text
    Case(
        "a page as text", BLOCKS, {"a.txt": "<!DOCTYPE html>\n<html><p>One. Two.</p></html>"}, "marked-up", refused=True
    ),
    Case("a page", "--text a.html", {"a.html": "<p>One.</p>"}, "a.html is marked-up text", refused=True),
    Case("a table", "--text a.csv", {"a.csv": "a,b\n1,2\n"}, "a.csv is a table", refused=True),
    Case("a table as text", BLOCKS, {"a.txt": "a\tb\n" * 9}, "a.txt is a table", refused=True),
    Case(
        "a page after many texts",
        "--text texts --document_unit block",
        {**{f"texts/{n:02}.txt": "One. Two.\n" for n in range(20)}, "texts/20.txt": "<html><p>One. Two.</p></html>"},
        "20.txt is marked-up text",
        refused=True,
    ),
    Case("a packed table", "--text a.csv.gz", {"a.csv.gz": ""}, "a.csv.gz is a table", refused=True),
    Case("JSON lines", "--text a.jsonl", {"a.jsonl": '{"text": "One."}\n'}, "a.jsonl is JSON", refused=True),
    Case("JSON as text", BLOCKS, {"a.txt": '{"text": "One. Two."}\n' * 9}, "a.txt is JSON", refused=True),
    Case(
        "braces that are no JSON",
        BLOCKS,
        {"a.txt": "{Enter the cat.}\n\n" + blocks(SENTENCES)},
        has=("{Enter the cat.}",),
    ),
    Case(
        "blank files in a folder",
        "--text texts --document_unit block",
        {"texts/a.txt": blocks(SENTENCES), "texts/b.txt": "", "texts/c.txt": "\n"},
        "left out because they are blank: texts/b.txt, texts/c.txt.",
    ),
    # What prints nothing
    Case(
        "zero-width lines between blocks",
        BLOCKS,
        {"a.txt": blocks(SENTENCES).replace("\n\n", "\n\u200b\u200d\n")},
        count=112,
    ),
    Case(
        "a form feed", BLOCKS, {"a.txt": "One here\n\fTwo here.\n\n" + blocks(SENTENCES)}, has=("One here", "Two here.")
    ),
    # Pages, hyphens, headings, licences
    Case(
        "hyphens at line ends",
        BLOCKS,
        {"a.txt": HYPHENS},
        "8 lines end in a hyphen",
        has=("A well-known do- or is he- re.",),
    ),
    Case(
        "hyphens at line ends, joined",
        f"{BLOCKS} --clean hyphenation",
        {"a.txt": HYPHENS},
        "--clean hyphenation: 8 words are joined.",
        has=("The dinner was a well-known one.", "A well-known door is here."),
    ),
    Case(
        "hyphens at line ends in Russian, joined",
        "--text a.txt --document_unit block --language ru --clean hyphenation --objective mlm",
        {"a.txt": blocks([f"Это слу-\nчай номер {letter} и дру-\nгой." for letter in LETTERS])},
        "--clean hyphenation: 28 words are joined.",
        has=("Это случай номер a и другой.",),
    ),
    Case(
        "hyphens at the ends of documents",
        "--text a.txt",
        {"a.txt": HYPHENS},
        "8 lines end in a hyphen within a word; --clean hyphenation --document_unit block joins the halves.",
    ),
    Case("headers of pages", BLOCKS, {"a.txt": pages(SENTENCES)}, "“Page # of #”", has=("Annual report",)),
    Case(
        "headers of pages, left out",
        f"{BLOCKS} --clean headers",
        {"a.txt": pages(SENTENCES)},
        "--clean headers: 56 lines are left out.",
        has_not=("Annual report", "Page 1 of 28"),
        count=112,
    ),
    Case(
        "long headers of pages, left out",
        f"{BLOCKS} --clean headers",
        {"a.txt": pages(SENTENCES).replace("Annual report", "Annual report".center(79, "x"))},
        "--clean headers: 56 lines are left out.",
        count=112,
    ),
    Case(
        "headings of wiki markup",
        BLOCKS,
        {"a.txt": "== History ==\n\n" + blocks(SENTENCES)},
        "“== History ==” look like headers of pages or headings",
        has=("== History ==",),
    ),
    Case(
        "headings of wiki markup, left out",
        f"{BLOCKS} --clean headers",
        {"a.txt": " = A town = \n\n== History ==\n\n" + blocks(SENTENCES)},
        "--clean headers: 2 lines",
        count=112,
    ),
    Case(
        "a licence in every book",
        "--text a.txt b.txt --document_unit block",
        {name: f"{LICENCE}\n\n{START}\n\n{blocks(part)}\n\n{END}\n\n{LICENCE}\n" for name, part in HALVES},
        "2 files have the licence of Project Gutenberg",
        has=("This file is free.",),
    ),
    Case(
        "a licence, left out",
        f"{BLOCKS} --clean gutenberg",
        {"a.txt": f"{LICENCE}\n\n{START}\n\n{blocks(SENTENCES)}\n\n{END}\n\n{LICENCE}\n"},
        "--clean gutenberg: 1 licence is left out.",
        count=112,
    ),
    Case(
        "no licence to leave out",
        f"{BLOCKS} --clean gutenberg",
        {"a.txt": blocks(SENTENCES)},
        "--clean gutenberg: 0 licences are left out.",
        count=112,
    ),
    Case(
        "a refrain is no header",
        f"{BLOCKS} --sentence_splitter line --clean headers",
        {
            "a.txt": blocks(
                [line for at in range(0, 112, 7) for line in (*VERSE[at : at + 7], "the sea is cold")], 8, "\n"
            )
        },
        "--clean headers: 0 lines are left out.",
        count=128,
    ),
    # Where sentences are lines
    Case(
        "verse",
        BLOCKS,
        {"a.txt": blocks(VERSE, 7, "\n")},
        "has no document of two or more sentences.",
        "Where each line is a sentence (verse, chat, bullets), choose --sentence_splitter line",
    ),
    Case(
        "bullets, a line each",
        "--text a.txt",
        {"a.txt": blocks([f"- the {line}" for line in VERSE], 7, "\n")},
        "has no document of two or more sentences.",
        "choose --sentence_splitter line and --document_unit block",
    ),
    Case(
        "chat without blank lines",
        f"{BLOCKS} --sentence_splitter line --selection_fraction 0 --early_stopping_patience 0",
        {"a.txt": "\n".join(f"<bob> {line}" for line in VERSE)},
        "the text has 1 document",
        "Pass --negatives same_document",
    ),
    Case(
        "one block of paragraphs",
        BLOCKS,
        {"a.txt": blocks(SENTENCES).replace("\n\n", "\n")},
        "the text has 1 document",
        "take smaller documents: --document_unit line",
    ),
    Case(
        "a blank line after every sentence",
        BLOCKS,
        {"a.txt": "\n\n".join(SENTENCES)},
        "has no document of two or more sentences.",
        "where each block is one, --document_unit file --negatives same_document",
    ),
    Case(
        "a single document",
        "--text a.txt",
        {"a.txt": " ".join(SENTENCES)},
        "the text has 1 document",
        "Pass --negatives same_document",
    ),
    Case(
        "a single document, parts held out",
        "--text a.txt --negatives same_document",
        {"a.txt": " ".join(SENTENCES)},
        "one document: its end is held out, with a gap of 2 sentences before each part",
    ),
    Case(
        "a short single document, parts held out",
        "--text a.txt --negatives same_document",
        {"a.txt": " ".join(SENTENCES[:30])},
        "one document: its end is held out, with a gap of 1 sentence before each part",
    ),
    Case(
        "documents too short for pairs within them",
        f"{BLOCKS} --negatives same_document",
        {"a.txt": blocks(SENTENCES, 3)},
        "has no document of four or more sentences, as --negatives same_document needs.",
        "Choose --negatives other_document",
    ),
    Case(
        "five books",
        "--text b0.txt b1.txt b2.txt b3.txt b4.txt --document_unit file",
        {f"b{n}.txt": " ".join(SENTENCES[n * 20 : n * 20 + 20]) for n in range(5)},
        "the text has 5 documents: with 2 for --validation_fraction and 2 for --selection_fraction",
        "Pass --selection_fraction 0 --early_stopping_patience 0",
    ),
    Case(
        "eight books and the recipe of books",
        "--config nsp/books --text " + " ".join(f"b{n}.txt" for n in range(8)),
        {f"b{n}.txt": " ".join(SENTENCES[n * 14 : n * 14 + 14]) for n in range(8)},
    ),
    Case(
        "documents of one sentence",
        BLOCKS,
        {"a.txt": blocks(SENTENCES) + "\n" + "\n\n".join(SENTENCES)},
        "112 of 140 documents are one",
    ),
    Case("texts of one sentence", "--text a.txt --objective mlm", {"a.txt": "\n".join(SENTENCES)}, count=112),
    # Whole-language surprises
    Case(
        "another script",
        f"{BLOCKS} --language zh",
        {"a.txt": blocks([f"今天{n}很好。" for n in range(40)], 4, "")},
        "of the tokens are unknown",
    ),
]


def read(flags: Sequence[str], tokenizer: Any, cache: Path) -> list[str]:
    """Return the sentences of a run with these flags, of which pairs can be made."""
    given = ["--model_name_or_path", "m", *flags]
    arguments = parser.parse(given, (NspArguments, ModelArguments, RunArguments), "", recipes.NSP_DEFAULT)[NspArguments]
    text = dataset.read(arguments, str(cache))
    assert len(dataset.make_splits(text, arguments, tokenizer).splits["train"])
    sentences: list[str] = text.sentences["sentence"][:]
    return sentences


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_text_is_read_or_its_refusal_helps(case: Case, tokenizer, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    flags = shlex.split(case.flags)
    if case.hint or case.refused:
        with pytest.raises(UserError) as caught:
            read(flags, tokenizer, tmp_path / "cache")
        assert case.says in caught.value.problem
        assert case.hint in caught.value.hint
        if case.refused:
            return
        added = shlex.split(case.hint[case.hint.index("--") :].replace(" and ", " "))
        again = [at for at, word in enumerate(flags) if word in added[::2]]
        flags = [word for at, word in enumerate(flags) if at not in again and at - 1 not in again] + added
    sentences = read(flags, tokenizer, tmp_path / "cache")
    printed = capsys.readouterr()
    assert case.hint or case.says in printed.err
    assert case.says or not printed.err, "correct text is silent"
    assert set(case.has) <= set(sentences)
    assert not set(case.has_not) & set(sentences)
    assert case.count in (None, len(sentences))
