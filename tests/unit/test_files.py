"""Text files open in every packing and encoding; an error names its place in the file."""

import codecs
import gzip
import stat
import zipfile
from pathlib import Path

import pytest

from bertlab.data import files
from bertlab.data.files import file_digest, open_text, zip_member
from bertlab.errors import UserError

TEXT = "naïve café\r\n“two”\n"


def read(path: Path, encoding: str | None = None) -> str:
    with open_text(path, encoding) as stream:
        return stream.read()


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def packed(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def refusal(path: Path, encoding: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read(path, encoding)
    return str(caught.value)


def test_plain_gzip_and_zip_give_the_same_text_with_its_line_ends(tmp_path: Path) -> None:
    data = TEXT.encode()
    assert read(written(tmp_path / "a.txt", data)) == TEXT
    assert read(written(tmp_path / "a.txt.GZ", gzip.compress(data))) == TEXT
    assert read(packed(tmp_path / "a.txt.zip", ("folder/", b""), ("folder/a.txt", data))) == TEXT
    assert read(packed(tmp_path / "stored.zip", ("a.txt", data), method=zipfile.ZIP_STORED)) == TEXT


def test_a_gzip_of_several_streams_is_read_to_its_end(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n"))) == "one\ntwo\n"


def test_a_zip_packed_by_macos_counts_as_one_file(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", ("a.csv", b"text\n"), ("__MACOSX/._a.csv", b"\x00\x05\x16"))
    assert read(path) == "text\n"
    assert zip_member(path) == "a.csv"


@pytest.mark.parametrize(("mark", "codec"), files.BYTE_ORDER_MARKS)
def test_a_byte_order_mark_decides_and_is_no_part_of_the_text(tmp_path: Path, mark: bytes, codec: str) -> None:
    path = written(tmp_path / "a.txt", mark + TEXT.encode(codec))
    assert read(path) == TEXT
    assert read(path, codec) == TEXT
    assert "is empty" in refusal(written(tmp_path / "empty.txt", mark))


@pytest.mark.parametrize("codec", ["utf-16", "utf-8-sig", "cp1252", "gb18030", "UTF8", "utf-7"])
def test_a_given_encoding_is_used(tmp_path: Path, codec: str) -> None:
    text = "café\n" * 200_000
    assert read(written(tmp_path / "a.txt", text.encode(codec)), codec) == text


@pytest.mark.parametrize(
    ("encoding", "hint"),
    [("latn-1", "Did you mean 'latin-1'?"), ("hex", "Choose from"), ("a\0b", "Choose")],
)
def test_an_unknown_encoding_is_named_with_the_nearest(tmp_path: Path, encoding: str, hint: str) -> None:
    message = refusal(written(tmp_path / "a.txt", b"text"), encoding)
    assert message.startswith(f"the encoding {encoding!r} is unknown.")
    assert hint in message


@pytest.mark.parametrize("lines", [0, 1, 200_000], ids=["first line", "second line", "far into the file"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_that_is_not_utf8_is_named_with_line_and_offset(tmp_path: Path, lines: int, end: str) -> None:
    before = ("fine" + end) * lines + "caf"
    path = written(tmp_path / "a.txt", before.encode() + b"\xe9 noir\n")
    assert refusal(path) == (
        f"{path}, line {lines + 1}: not utf-8 text: byte 0xe9 at offset {len(before)}. "
        "If the file has another encoding, name it: --encoding latin-1 (or cp1252, utf-16, …)."
    )
    assert read(path, "latin-1") == before + "é noir\n"


def test_offsets_hold_across_chunks_marks_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK_BYTES", 5)
    path = written(tmp_path / "a.txt", codecs.BOM_UTF8 + "é€\n".encode() * 3 + b"\xe2\x82")
    assert "line 4: not utf-8 text: byte 0xe2 at offset 21." in refusal(path)
    path = written(tmp_path / "b.txt", codecs.BOM_UTF16_LE + "é\n€".encode("utf-16-le") + b"!")
    assert "line 2: not utf-16-le text: byte 0x21 at offset 8." in refusal(path)


def test_an_error_that_is_found_late_comes_while_iterating(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", b"fine\n" * 200_000 + b"\xff\n")
    with open_text(path) as stream:
        assert next(stream) == "fine\n"
        with pytest.raises(UserError, match="line 200001"):
            sum(1 for _ in stream)


@pytest.mark.parametrize("lines", [0, 3, 200_000])
def test_a_nul_character_is_named_with_its_line(tmp_path: Path, lines: int) -> None:
    path = written(tmp_path / "a.txt", b"fine\r\n" * lines + b"a\0b\n")
    assert refusal(path) == (f"{path}, line {lines + 1}: a NUL character. Take it out, if this is text.")


def test_utf16_without_a_mark_must_be_given_its_byte_order(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", TEXT.encode("utf-16-le"))
    message = refusal(path, "utf-16")
    assert message == (
        f"{path} is not utf-16 text: UTF-16 stream does not start with BOM. Leave --encoding out; for a file "
        "without a mark name the order: --encoding utf-16-le."
    )
    assert read(path, "utf-16-le") == TEXT


def test_a_file_that_may_not_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.txt", b"x")

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    assert refusal(path) == f"{path} cannot be opened: Permission denied."
    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert files._names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000])
def test_an_impossible_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be opened: " in refusal(tmp_path / name)


def test_a_disk_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def read(self, _: int) -> bytes:
            raise OSError(5, "Input/output error")

    failing = files._as_text(tmp_path / "a.txt", Failing(), 0, None, "")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a\.txt cannot be read: Input/output error\."), failing:
        pass


@pytest.mark.parametrize(
    ("signature", "refused"),
    [
        (b"\xd0\xcf\x11\xe0", "is an Office file (xls, doc). Save it as CSV or text."),
        (b"PK\x03\x04", "is a zip archive or an Office file (xlsx, docx). Save it as CSV or text, or name it .zip."),
    ],
    ids=["old", "new"],
)
def test_an_office_file_under_another_name_is_refused(tmp_path: Path, signature: bytes, refused: str) -> None:
    assert refusal(written(tmp_path / "a.txt", signature + bytes(600))) == f"{tmp_path}/a.txt {refused}"


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.zip"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.txt":
        written(path, b"")
    elif name == "a.gz":
        written(path, gzip.compress(b""))
    else:
        packed(path, ("a.txt", b""))
    assert refusal(path) == f"{path} is empty. Give a file with text in it."


def test_a_gzip_cut_off_is_found_late(tmp_path: Path) -> None:
    # Random-looking lines, so that the packed file is several chunks long.
    lines = "".join(f"{hash((i, i))}\n" for i in range(100_000)).encode()
    path = written(tmp_path / "a.csv.gz", gzip.compress(lines)[:-1000])
    with open_text(path) as stream:
        next(stream)
        with pytest.raises(UserError, match=r"a\.csv\.gz is damaged or not a gz file: .*Fetch or pack it again\."):
            sum(1 for _ in stream)


def test_a_zip_of_several_files_lists_them(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", *((f"{name}.tsv", b"x") for name in "abcdefg"))
    assert refusal(path) == (
        f"{path} holds 7 files (a.tsv, b.tsv, c.tsv, d.tsv, e.tsv, …). Unpack it and name one of them."
    )


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "x/../../a.txt", "..\\a.txt", "C:/a.txt"])
def test_a_zip_member_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "a.zip", (name, b"x"))
    assert refusal(path) == f"{path} holds {name!r}, a path that leads out of the archive."


def test_a_zip_member_that_is_a_link_is_refused(tmp_path: Path) -> None:
    item = zipfile.ZipInfo("a.txt")
    item.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(item, "/etc/passwd")
    assert "holds 'a.txt', which is a link or a device, not a file." in refusal(tmp_path / "a.zip")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", ("a.txt", b"x"))
    data = bytearray(path.read_bytes())
    # Bit 0 of the flags, in the local header and in the central directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    message = refusal(written(path, bytes(data)))
    assert message == f"{path} is encrypted ('a.txt'). Unpack it with its password first."


def test_a_zip_with_another_method_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", ("a.txt", b"x"), method=zipfile.ZIP_BZIP2)
    assert refusal(path) == f"{path} is not packed with deflate. Unpack it and name the file inside."


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_a_decompression_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    zeros = b"0" * 3_000_000
    if suffix == ".gz":
        written(path, gzip.compress(zeros))
    else:
        packed(path, ("a.txt", zeros))
    assert len(read(path)) == 3_000_000, "below the size from which a ratio counts"
    monkeypatch.setattr(files, "BOMB_BYTES", 1_000_000)
    assert refusal(path) == (
        f"{path} unpacks to more than 200 times its size and 1000000 bytes. "
        "If it is meant to, unpack it and name the file inside."
    )


def test_a_plain_file_is_never_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BOMB_BYTES", 1)
    monkeypatch.setattr(files, "BOMB_RATIO", 0)
    assert read(written(tmp_path / "a.txt", b"text")) == "text"


def test_an_error_of_the_caller_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="theirs"), open_text(written(tmp_path / "a.txt", b"x")):
        raise OSError("theirs")


def test_a_digest_follows_the_bytes(tmp_path: Path) -> None:
    one = file_digest(written(tmp_path / "a", b"x" * 1_000_000))
    assert one == file_digest(written(tmp_path / "b", b"x" * 1_000_000))
    assert one != file_digest(written(tmp_path / "c", b"x" * 999_999 + b"y"))
    assert len(one) == 32
    assert int(one, 16) >= 0
    with pytest.raises(UserError, match="does not exist"):
        file_digest(tmp_path / "gone")
    (tmp_path / "pos").mkdir()
    of_folder = file_digest(tmp_path)
    written(tmp_path / "pos" / "1.TXT", b"x")
    assert of_folder != file_digest(tmp_path)
