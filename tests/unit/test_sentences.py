"""Text files become documents, and documents sentences, whatever the size, the packing and the line ends."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest
import sentencex
from hypothesis import given, settings
from hypothesis import strategies as st
from running import refusal

from benchmarks import sentence_splitters
from bertlab.cli.arguments import NspArguments
from bertlab.pretraining import cleaning, sentences, splitters
from bertlab.pretraining.sentences import read_documents, write_sentences
from bertlab.pretraining.splitters import LANGUAGES, sentence_splitter
from bertlab.pretraining.text_files import find_text_files, without_blank

SPLITTERS = (sentence_splitters.ours, sentence_splitters.of_sentencex)
DOCUMENT_UNITS = ("line", "block", "file")
SENTENCE_SPLITTERS = ("sentencex", "period", "line")
TEXT = "One. Two.\nThree.\n \t\nFour!  Five?\n\n\nSix"

# Letters, stops, quotes and every kind of white space that could stand where a cut is made.
texts = st.text(alphabet="ab.!? “\"'\n\r\t\u00a0\u2028é。", max_size=60)


def written(folder: Path, content: str | bytes, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def documents(path: Path, unit: str, encoding: str | None = None) -> list[str]:
    """Return the whole documents of a file, the pieces of each joined, without line ends around them."""
    whole: list[str] = []
    for text, begins in read_documents(path, unit, encoding):
        if begins:
            whole.append("")
        whole[-1] += text
    return [document.strip() for document in whole]


def table(folder: Path, content: str | bytes, unit: str = "line", splitter: str = "sentencex", language: str = "en"):
    return write_sentences(
        [written(folder, content)],
        NspArguments(document_unit=unit, sentence_splitter=splitter, language=language),
        folder / "out.arrow",
    )


def without_space(text: str) -> str:
    return "".join(text.split())


class TestFindTextFiles:
    def test_a_folder_gives_its_text_files_sorted_and_not_the_hidden_ones(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        (tmp_path / ".git").mkdir()
        names = ["c.txt", "a.TXT", "b/d.txt.gz", "notes.md", "._c.txt", ".git/x.txt"]
        for name in names:
            written(tmp_path, "x", name)
        found = [path.relative_to(tmp_path).as_posix() for path in find_text_files([str(tmp_path)])]
        assert found == ["a.TXT", "b/d.txt.gz", "c.txt"]

    def test_globs_files_and_folders_mix_and_nothing_is_read_twice(self, tmp_path: Path) -> None:
        for name in ("b.md", "a.md", "c.txt"):
            written(tmp_path, "x", name)
        found = find_text_files([tmp_path / "c.txt", str(tmp_path / "*.md"), str(tmp_path)])
        assert [path.name for path in found] == ["c.txt", "a.md", "b.md"]

    def test_two_stars_go_into_folders(self, tmp_path: Path) -> None:
        (tmp_path / "deep" / "er").mkdir(parents=True)
        written(tmp_path / "deep" / "er", "x", "a.text")
        assert [path.name for path in find_text_files([str(tmp_path / "**" / "*.text")])] == ["a.text"]

    def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(self, tmp_path: Path) -> None:
        path = written(tmp_path, "x", "a[1].txt")
        assert find_text_files([str(path)]) == [path]

    def test_a_missing_file_is_named_with_the_nearest(self, tmp_path: Path) -> None:
        written(tmp_path, "x", "meditations.txt")
        message = refusal(find_text_files, [tmp_path / "meditation.txt"])
        assert message == f"{tmp_path / 'meditation.txt'} does not exist. Did you mean '{tmp_path}/meditations.txt'?"

    def test_a_folder_without_text_names_the_glob_that_helps(self, tmp_path: Path) -> None:
        folder = tmp_path / "a [b]"
        (folder / "deep").mkdir(parents=True)
        for name, content in {"a.csv": "a,b\n", "b.jpg": b"\xff\xd8\xff", "c.jpg": b"\xff\xd8", "d.bin": b""}.items():
            written(folder, content, name)
        assert refusal(find_text_files, [folder]).endswith(
            "has no .txt or .txt.gz file. Name another folder, or files."
        )
        written(folder / "deep", "x", "a.md")
        message = refusal(find_text_files, [folder])
        assert message == f"{folder} has no .txt or .txt.gz file. Name others by a glob: '{tmp_path}/a [[]b]/**/*.md'."
        assert find_text_files([f"{tmp_path}/a [[]b]/**/*.md"]) == [folder / "deep" / "a.md"]

    def test_a_folder_that_cannot_be_listed_is_not_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(tmp_path, "x", "a.txt")
        locked = tmp_path / "locked"
        locked.mkdir()
        scandir = os.scandir

        def refusing(path: str) -> object:
            if Path(path) == locked:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr("os.scandir", refusing)
        message = refusal(find_text_files, [tmp_path])
        assert message == f"{locked} cannot be listed: Permission denied. Name its files, or another folder."

    @pytest.mark.parametrize("blank", ["", "\n", "\ufeff", "\ufeff \n\u200b\r\n"], ids=ascii)
    def test_blank_files_among_others_are_left_out_and_named_together(self, blank: str, tmp_path: Path, capsys) -> None:
        for name in ("a.txt", "b.txt", "c.txt"):
            written(tmp_path, "\n x" if name == "b.txt" else blank, name)
        assert without_blank(find_text_files([tmp_path])) == [tmp_path / "b.txt"]
        said = capsys.readouterr().err
        assert said == f"warning: left out because they are blank: {tmp_path}/a.txt, {tmp_path}/c.txt.\n"
        message = refusal(without_blank, [tmp_path / "a.txt", tmp_path / "c.txt"])
        assert message.startswith(f"all of the files are blank: {tmp_path}/a.txt, {tmp_path}/c.txt.")
        assert without_blank([tmp_path / "a.txt"]) == [tmp_path / "a.txt"], "its reader says so"

    def test_a_file_of_another_encoding_is_looked_at_in_it(self, tmp_path: Path) -> None:
        files = [written(tmp_path, "x\n".encode("utf-16-le"), name) for name in ("a.txt", "b.txt")]
        assert without_blank(files, "utf-16-le") == files

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.csv", "a table"),
            ("a.JSONL", "JSON"),
            ("a.html", "marked-up text"),
            ("a.rtf", "a document of another program"),
            ("a.doc", "a document of another program"),
            ("a.csv.gz", "a table"),
            ("a.json.zip", "JSON"),
        ],
        ids=str,
    )
    def test_what_is_no_plain_text_is_refused_by_its_kind(self, tmp_path: Path, name: str, kind: str) -> None:
        path = written(tmp_path, "x", name)
        expected = f"{path} is {kind}, and --text reads plain text. Save its text as a .txt file."
        assert refusal(find_text_files, [path]) == expected

    @pytest.mark.parametrize(
        ("head", "kind"),
        [
            ("{\\rtf1\\ansi One.}", "a document of another program"),
            ("<!-- saved -->\n<!-- from url -->\n<html><p>One.</p></html>", "marked-up text"),
            ('[\n {"text": "One."}\n]', "JSON"),
            ('["One.", "Two."]', "JSON"),
            *((f'[{{"text": "One.", "label": {end}', "JSON") for end in ('"Tw', "-", "12.", "fal", '"\\u00')),
        ],
        ids=ascii,
    )
    def test_what_a_text_file_holds_is_known_by_how_it_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, kind: str
    ) -> None:
        monkeypatch.setattr(cleaning, "HEAD_CHARS", len(head))
        path = written(tmp_path, head + " and so on")
        expected = f"{path} is {kind}, and --text reads plain text. Save its text alone."
        assert refusal(cleaning.read_head, path) == expected

    @pytest.mark.parametrize(
        "head", ['["One," he said, "and two."', "{One}\n" * 9, "<!-- a --> " * 99 + "One", "<!-- never closed"]
    )
    def test_what_only_begins_like_that_is_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
    ) -> None:
        monkeypatch.setattr(cleaning, "HEAD_CHARS", len(head))
        assert cleaning.read_head(written(tmp_path, head + " and so on")) == head

    def test_the_tabs_of_a_table_may_be_replaced(self, tmp_path: Path) -> None:
        text = "bob\tOne.\nann\tTwo.\n" * 9
        message = refusal(cleaning.read_head, written(tmp_path, text))
        assert message.endswith("reads plain text. Save its text alone, or replace the tabs with spaces.")
        assert cleaning.read_head(written(tmp_path, text.replace("\t", " "))) == text.replace("\t", " ")

    def test_a_text_in_place_of_its_file_is_refused(self) -> None:
        text = "He rose early. " * 99
        assert refusal(find_text_files, [text]) == f"{text} cannot be opened: File name too long."

    def test_a_glob_without_a_match_and_no_text_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").mkdir()
        expected = f"no file matches {tmp_path}/*.txt. In quotes, ** stands for any depth of folders."
        assert refusal(find_text_files, [str(tmp_path / "*.txt")]) == expected
        assert refusal(find_text_files, []) == "no text is given. Name a file, a folder or a glob: --text book.txt."


class TestReadDocuments:
    @pytest.mark.parametrize(
        ("unit", "expected"),
        [
            ("line", ["One. Two.", "Three.", "Four!  Five?", "Six"]),
            ("block", ["One. Two.\nThree.", "Four!  Five?", "Six"]),
        ],
    )
    def test_units(self, tmp_path: Path, unit: str, expected: list[str]) -> None:
        assert documents(written(tmp_path, TEXT), unit) == expected

    def test_a_file_is_one_document(self, tmp_path: Path) -> None:
        (document,) = documents(written(tmp_path, TEXT), "file")
        assert without_space(document) == without_space(TEXT)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("unit", ["line", "block"])
    def test_a_line_of_zero_width_characters_is_blank(self, tmp_path: Path, unit: str, end: str) -> None:
        text = "A title\n \u200b\u200d\nThe text\n\ufeff\n".replace("\n", end)
        assert documents(written(tmp_path, text), unit) == ["A title", "The text"]
        assert table(tmp_path, text, "file")["sentence"][:] == ["A title", "The text"]

    @pytest.mark.parametrize("unit", DOCUMENT_UNITS)
    @pytest.mark.parametrize("end", ["\r\n", "\r"])
    def test_line_ends_of_other_systems(self, tmp_path: Path, unit: str, end: str) -> None:
        expected = documents(written(tmp_path, TEXT), unit)
        assert documents(written(tmp_path, TEXT.replace("\n", end)), unit) == expected

    def test_a_byte_order_mark_packing_and_encoding_leave_no_trace(self, tmp_path: Path) -> None:
        marked = written(tmp_path, b"\xef\xbb\xbfna\xc3\xafve", "a.txt")
        packed = written(tmp_path, gzip.compress("naïve".encode()), "a.txt.gz")
        latin = written(tmp_path, "naïve".encode("latin-1"), "b.txt")
        assert documents(marked, "line") == documents(packed, "line") == documents(latin, "line", "latin-1")

    @pytest.mark.parametrize("size", [1, 7, 30, 100])
    @pytest.mark.parametrize("unit", DOCUMENT_UNITS)
    def test_where_a_document_is_split_makes_no_difference(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, size: int
    ) -> None:
        path = written(tmp_path, TEXT.replace("Three.\n", "Three.\r\n") * 3)
        expected = documents(path, unit)
        monkeypatch.setattr(sentences, "_PIECE_CHARS", size)
        assert [document.split() for document in documents(path, unit)] == [document.split() for document in expected]

    @pytest.mark.parametrize(
        ("text", "end"),
        [
            ("A few words\n\n" * 60, "words\n\n"),
            ("A few words, and\nmore of them. Last\nwords.”\n" * 60, "words.”\n"),
            ("今天很好，我们去\n散步。\n" * 60, "散步。\n"),
            ("no stop\n" * 200, "stop\n"),
        ],
        ids=["blank lines", "ends of sentences", "Chinese", "lines"],
    )
    def test_a_long_file_comes_in_pieces_that_end_at_the_best_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, end: str
    ) -> None:
        monkeypatch.setattr(sentences, "_PIECE_CHARS", 20)
        pieces = list(read_documents(written(tmp_path, text), "file"))
        assert "".join(piece for piece, _ in pieces).split() == text.split()
        assert [begins for _, begins in pieces] == [True] + [False] * (len(pieces) - 1)
        assert all(piece.endswith(end) for piece, _ in pieces)
        assert len(pieces) > 3


class TestSplitSentences:
    @pytest.mark.parametrize(
        ("splitter", "expected"),
        [
            ("sentencex", ["Dr. Smith came at 3.5 p.m.", "Why?", "He left"]),
            ("period", ["Dr", "Smith came at 3", "5 p", "m", "Why? He left"]),
            ("line", ["Dr. Smith came", "at 3.5 p.m. Why? He left"]),
        ],
    )
    def test_splitters(self, splitter: str, expected: list[str]) -> None:
        assert sentence_splitter(splitter)(" Dr. Smith  came\n\tat 3.5 p.m. Why? He left\n") == expected

    @pytest.mark.parametrize("splitter", SENTENCE_SPLITTERS)
    @settings(deadline=None)
    @given(text=texts)
    def test_no_sentence_is_blank_and_no_text_is_lost(self, splitter: str, text: str) -> None:
        found = sentence_splitter(splitter)(text)
        assert all(sentence.strip() == sentence and sentence for sentence in found)
        kept = without_space("".join(found))
        assert kept == without_space(text.replace(".", "") if splitter == "period" else text)

    @pytest.mark.parametrize("splitter", ["sentencex", "period"])
    def test_a_wrapped_paragraph_splits_like_one_line_and_no_sentence_crosses_a_blank_line(self, splitter: str) -> None:
        line = "It was late. The man, who had come by train, was tired"
        assert sentence_splitter(splitter)(line.replace(" ", "\n  ")) == sentence_splitter(splitter)(line)
        assert sentence_splitter(splitter)("a title\n \nThe text") == ["a title", "The text"]

    def test_what_prints_nothing_is_no_sentence_and_a_form_feed_parts_paragraphs(self) -> None:
        assert sentence_splitter("line")("a\n\u200b\n \ufeff\u200d \n\u200bb") == ["a", "b"]
        assert sentence_splitter("sentencex")("Page 1 of 2\n\fAnnual report") == ["Page 1 of 2", "Annual report"]

    def test_the_language_decides(self) -> None:
        text = "Das ist z.B. Hans. Er kam."
        assert sentence_splitter("sentencex", "de")(text) == ["Das ist z.B. Hans.", "Er kam."]
        assert sentence_splitter("sentencex", "zh")("今天很好。我们去吧！") == ["今天很好。", "我们去吧！"]
        assert sentence_splitter("sentencex", "de_AT")(text) == sentence_splitter("sentencex", "DE")(text)

    @pytest.mark.parametrize("language", ["de", "en", "fr", "ja", "zh"])
    def test_hard_cases_are_split_better_than_by_sentencex_alone(self, language: str) -> None:
        ours, alone = (sentence_splitters.accuracy(made(language), language) for made in SPLITTERS)
        assert ours >= 0.94
        assert ours > alone + 0.1

    @pytest.mark.parametrize(
        ("language", "expected"),
        [
            ("en", ["Karl spoke to me.", "Nobody else did.", "He said nothing."]),
            ("en", ["I met Jack B. Quick.", "He lives in Portland, Ohio.", "(It is cold.)", "Very."]),
            ("de", ["Er traf die 1. Mannschaft am 2. Tag.", "Das war 1990.", "Danach kam er."]),
            ("fr", ["Il a vu M. Petit.", "Mme A. Petit dort."]),
            ("es", ["1. Abre la puerta.", "2. Entra."]),
            ("ru", ["Он сказал (это так!) и ушёл.", "(Было поздно.)", "Никто не видел."]),
            ("el", ["Είπε (είναι έτσι!) και έφυγε.", "Μετά ήρθε."]),
            ("pl", ["Powiedział (to tak!) że wyszedł.", "Potem (no!) śpiewał."]),
            ("he", ["הוא אמר (כן!) והלך.", "אחר כך בא."]),
        ],
    )
    def test_other_cases_than_those_of_the_comparison(self, language: str, expected: list[str]) -> None:
        assert sentence_splitter("sentencex", language)(" ".join(expected)) == expected

    def test_a_japanese_sentence_goes_on_after_a_bracket_with_a_particle(self) -> None:
        text = "彼は（そうだ！）と言った。（遅かった。）彼女は残った。"
        expected = ["彼は（そうだ！）と言った。", "（遅かった。）", "彼女は残った。"]
        assert sentence_splitter("sentencex", "ja")(text) == expected

    def test_every_language_that_is_let_in_works(self) -> None:
        assert len(LANGUAGES) > 180
        for language in sorted(LANGUAGES):
            assert without_space("".join(sentencex.segment(language, "A b. C d."))) == "Ab.Cd."

    @pytest.mark.parametrize("language", ["xx", "english", "", "e n"])
    def test_an_unknown_language_is_not_taken_for_english(self, language: str) -> None:
        message = refusal(sentence_splitter, "sentencex", language)
        expected = f"the language {language!r} is unknown. Give a two-letter code, such as en, de, fr or zh."
        assert message == expected

    @settings(max_examples=30, deadline=None)
    @given(words=st.lists(st.sampled_from(["word", "Mr.", "end.", "What?", "U.S."]), min_size=30, max_size=90))
    def test_a_long_paragraph_splits_as_it_does_in_one_go(self, words: list[str]) -> None:
        paragraph = " ".join(words)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(splitters, "_WINDOW_CHARS", 64)
            windowed = sentence_splitter("sentencex")(paragraph)
        assert windowed == sentence_splitter("sentencex")(paragraph)

    def test_a_long_paragraph_is_given_in_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The time sentencex takes grows with the square of the length when quotes stay open: 64 s for 1.2 MB.
        given: list[int] = []
        segment = sentencex.segment
        monkeypatch.setattr(sentencex, "segment", lambda code, text: given.append(len(text)) or segment(code, text))
        assert len(sentence_splitter("sentencex")("“at. b " * 20_000)) == 20_001
        assert max(given) == splitters._WINDOW_CHARS


class TestWriteSentences:
    def test_rows_are_in_order_with_documents_counted_through(self, tmp_path: Path) -> None:
        paths = [written(tmp_path, "A b. C d.\n\n...\nE f.", "1.txt"), written(tmp_path, "A b.", "2.txt")]
        found = write_sentences(paths, NspArguments(sentence_splitter="period"), tmp_path / "new" / "out.arrow")
        assert found.data.schema.field("sentence").type == pa.large_string()
        assert found.data.schema.field("document").type == pa.int32()
        assert found["sentence"][:] == ["A b", "C d", "E f", "A b"]
        # "..." has no sentence, so it gets no number.
        assert found["document"][:] == [0, 0, 1, 2]
        hashes = found["text_hash"][:]
        assert hashes[0] == hashes[3]
        assert len(set(hashes)) == 3
        assert found.cache_files == [{"filename": str(tmp_path / "new" / "out.arrow")}]

    @pytest.mark.parametrize("unit", DOCUMENT_UNITS)
    def test_batches_make_no_difference(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
        expected = table(tmp_path, TEXT * 5, unit).to_dict()
        monkeypatch.setattr(sentences, "_BATCH_SENTENCES", 2)
        assert table(tmp_path, TEXT * 5, unit).to_dict() == expected

    @pytest.mark.parametrize("splitter", SENTENCE_SPLITTERS)
    def test_where_a_file_is_read_in_pieces_its_sentences_are_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splitter: str
    ) -> None:
        text = "One is here. Two\nis there.\n\nThree. Four\n\n\nFive.\n" * 20
        expected = table(tmp_path, text, "file", splitter).to_dict()
        monkeypatch.setattr(sentences, "_PIECE_CHARS", 50)
        assert table(tmp_path, text, "file", splitter).to_dict() == expected
        assert set(expected["document"]) == {0}

    def test_a_line_of_six_million_characters_is_one_document(self, tmp_path: Path) -> None:
        found = table(tmp_path, "A few more words. " * 340_000 + "\nThe end.")
        assert len(found) == 340_001
        assert found[-2:] == {**found[-2:], "sentence": ["A few more words.", "The end."], "document": [0, 1]}

    def test_six_million_characters_without_a_space_are_written(self, tmp_path: Path) -> None:
        found = table(tmp_path, "x" * 6_000_000 + "\nThe end.")
        assert sum(map(len, found["sentence"])) == 6_000_008
        assert found["document"][-1] == 1

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("", "{path} is empty. Give a file with text in it."),
            (" \n\t\n", "{path} has no sentence. Leave it out, or check that it is text."),
            (
                "Just one.",
                "There is only one sentence in {path}, too few to train on. "
                "Give more text; where each line is a sentence, pass --sentence_splitter line.",
            ),
            (
                b"\x7fELF\x02\x01\x01\x00\x00",
                "{path}, line 1: a NUL character. Take it out, if this is text.",
            ),
        ],
    )
    def test_what_is_no_text_is_refused_and_nothing_is_left_behind(
        self, tmp_path: Path, content: str | bytes, expected: str
    ) -> None:
        assert refusal(table, tmp_path, content) == expected.format(path=tmp_path / "text.txt")
        assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]

    def test_a_bad_byte_after_many_sentences_leaves_nothing_behind(self, tmp_path: Path) -> None:
        message = refusal(table, tmp_path, b"Good line.\n" * 200_000 + b"caf\xe9\n")
        assert "line 200001: not utf-8 text: byte 0xe9" in message
        assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]

    def test_a_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        path = written(tmp_path, "One. Two.")
        target = path / "out.arrow"
        message = refusal(write_sentences, [path], NspArguments(sentence_splitter="period"), target)
        assert message.startswith(f"{target} cannot be written: ")
        assert message.endswith(" Choose a folder with room.")

    def test_an_unknown_language_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        assert "is unknown." in refusal(table, tmp_path, "One. Two.", "line", "sentencex", "xx")
        assert not (tmp_path / "out.arrow").exists()


def test_the_meditations_have_1372_sentences(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "meditations" / "clean.txt"
    if not path.exists():
        pytest.skip("BERTLAB_DATA has no meditations/clean.txt")
    found = write_sentences([path], NspArguments(sentence_splitter="period"), tmp_path / "out.arrow")
    assert len(found) == 1372
    assert found["document"][-1] == 506
