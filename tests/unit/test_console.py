"""What the terminal shows: tables that fit it, colours where they belong, times."""

import sys

import pytest

from bertlab import console

SCORES = [
    ["in_domain_dev", "Matthews correlation", 0.25, "0.1200 to 0.3800", 193, 0.0, -0.0258],
    ["out_of_domain_dev", "accuracy", 0.5622, "0.4972 to 0.6324", 185, 0.5622, None],
]
HEADER = ["split", "metric", "score", "95% CI", "n", "majority class", "TF-IDF + logistic regression"]


def lines(width: int, monkeypatch: pytest.MonkeyPatch, rows=SCORES, header=HEADER) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    return console.table(rows, header).splitlines()


def test_a_table_that_fits_has_a_line_for_each_row(monkeypatch):
    wide = lines(120, monkeypatch)
    assert len(wide) == 2 + len(SCORES)
    assert wide[2] == (
        "in_domain_dev      Matthews correlation  0.2500  0.1200 to 0.3800  193          0.0000                       "
        "-0.0258"
    )
    assert wide[3].endswith("     0.5622                             -")


@pytest.mark.parametrize("width", [80, 66])
def test_a_table_wraps_its_cells_to_the_terminal(width, monkeypatch):
    narrow = lines(width, monkeypatch)
    assert max(map(len, narrow)) <= width
    for text in ("logistic", "regression", "correlation", "0.3800", "-0.0258"):
        assert any(text in line.split() for line in narrow), text


def test_words_are_broken_after_underscores_only_where_spaces_are_not_enough(monkeypatch):
    assert any(line.startswith("out_of_domain_dev ") for line in lines(80, monkeypatch))
    assert not any("out_of_domain_dev" in line for line in lines(66, monkeypatch))


def test_a_table_of_too_many_columns_is_turned(monkeypatch):
    turned = lines(60, monkeypatch)
    assert max(map(len, turned)) <= 60
    assert turned[0].split() == ["split", "in_domain_dev", "out_of_domain_dev"]
    assert ["score", "0.2500", "0.5622"] in map(str.split, turned)


def test_a_table_of_too_many_columns_and_rows_is_a_list_of_its_rows(monkeypatch):
    narrow = lines(40, monkeypatch, SCORES * 2)
    assert max(map(len, narrow)) <= 40
    assert narrow[0].split() == ["split", "in_domain_dev"]
    assert narrow.count("") == 3


def test_a_long_address_is_broken_rather_than_let_through(monkeypatch):
    rows = [("yes", "https://example.org/" + "z" * 200)]
    narrow = lines(80, monkeypatch, rows, ("label", "text"))
    assert max(map(len, narrow)) <= 80
    assert "".join(narrow).count("z") == 200


def test_a_table_without_rows_is_its_header(monkeypatch):
    assert lines(80, monkeypatch, [], ("a", "b")) == ["a  b", "-  -"]


def test_into_a_pipe_no_cell_is_wrapped(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    long = "word " * 100 + "end"
    assert console.table([("a", long)], ("label", "text")).splitlines()[2] == f"a      {long}"


@pytest.mark.parametrize(
    ("is_terminal", "no_color", "coloured"),
    [(True, None, True), (True, "", True), (True, "1", False), (False, None, False)],
)
def test_errors_and_warnings_are_coloured_on_a_terminal_alone(is_terminal, no_color, coloured, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    console.info("read.")
    console.warning("doubtful.")
    console.error("wrong.")
    red, yellow = ("\033[1;31merror:\033[0m", "\033[1;33mwarning:\033[0m") if coloured else ("error:", "warning:")
    assert capsys.readouterr().err == f"info: read.\n{yellow} doubtful.\n{red} wrong.\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (133, "2 min 13 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds, text):
    assert console.duration(seconds) == text


def test_a_column_is_added_without_a_progress_bar(monkeypatch, capsys):
    import datasets

    bars = sys.modules["datasets.utils.tqdm"]
    monkeypatch.setattr(bars, "HF_DATASETS_DISABLE_PROGRESS_BARS", None)
    monkeypatch.setattr(bars, "_hf_datasets_progress_bars_disabled", False)
    rows = datasets.Dataset.from_dict({"text": list("abcd")}).select([0, 2, 3])
    with console.quiet_datasets():
        assert rows.add_column("n", [1, 2, 3])["n"][:] == [1, 2, 3]
    assert not datasets.are_progress_bars_disabled()
    assert "Flattening" not in capsys.readouterr().err
    rows.add_column("n", [1, 2, 3])
    assert "Flattening" in capsys.readouterr().err
