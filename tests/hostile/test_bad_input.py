"""Bad input, case by case: exit status 2, one line that says what, where and what to do, and nothing touched.

Every case goes through the `main` of the real script or subcommand, in this process; the tables are in cases_*.py.
A hint that names something to type is obeyed. The few files that are odd and right to accept must be read row for row.
"""

import io
import sys
from pathlib import Path

import cases_data
import cases_flags
import cases_models
import cases_outputs
import cases_rare
import cases_recipes
import cases_sequences
import pytest
from bad_input import (
    GOOD_FILES,
    Case,
    Models,
    close_to_reading,
    contents,
    library_messages_on_stderr,
    obedient,
    run,
    run_up_to_training,
    to_argv,
    write_files,
)

from bertlab.data.data_file import DataFile
from bertlab.data.readers import read_rows
from bertlab.errors import UserError

TABLES = {
    "flags": cases_flags.CASES,
    "rare": cases_rare.CASES,
    "recipes": cases_recipes.CASES,
    "data": cases_data.CASES,
    "models": cases_models.CASES,
    "outputs": cases_outputs.CASES,
    "sequences": cases_sequences.CASES,
}
CASES = [pytest.param(case, id=f"{table}: {case.name}") for table, cases in TABLES.items() for case in cases]


# The hint of each refusal, by its whole line.
hints: dict[str, str] = {}


@pytest.fixture(autouse=True)
def remember_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    really_init = UserError.__init__

    def init(error: UserError, problem: str, hint: str = "") -> None:
        really_init(error, problem, hint)
        hints[str(error)] = hint

    monkeypatch.setattr(UserError, "__init__", init)


@pytest.fixture(scope="session")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tiny_model, tmp_path_factory.mktemp("broken-models"))


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_in_one_line_and_odd_input_is_read(
    case: Case,
    models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    write_files(tmp_path, {**GOOD_FILES, **case.files})
    argv = [models.fill(word, tmp_path) for word in to_argv(case)]
    capsys.readouterr()  # the progress bars of models that are made for this case
    before = contents(tmp_path, models.sound, models.folder)
    with library_messages_on_stderr(), pytest.MonkeyPatch.context() as patch:
        close_to_reading(patch, tmp_path, case.unreadable)
        status = run(case.command, argv)
    printed = capsys.readouterr()
    assert contents(tmp_path, models.sound, models.folder) == before
    lines = printed.err.splitlines()
    notes = [line.partition(": ")[2] for line in lines if line.startswith(("info: ", "warning: "))]
    assert all(any(note.startswith(beginning) for beginning in (*case.notes, "text ")) for note in notes), notes
    assert all(any(note.startswith(beginning) for note in notes) for beginning in case.notes), notes
    errors = [line for line in lines if not line.startswith(("info: ", "warning: "))]
    if case.rows is None:
        assert status == 2
        assert len(errors) == 1 and errors[0].startswith("error: "), printed.err
        assert not [part for part in case.says if part not in errors[0]], errors[0]
        assert not [trace for trace in ("Traceback", "Error(", "'>") if trace in errors[0]], errors[0]
        obey(case, argv, errors[0], models, capsys)
    else:
        assert (status, errors) == (0, [])
        assert not [part for part in case.says if part not in printed.out], printed.out
        file = argv[argv.index("--train_file") + 1]
        encoding = argv[argv.index("--encoding") + 1] if "--encoding" in argv else None
        read = [(row.values["text"], row.values["label"]) for row in read_rows(DataFile(Path(file), encoding=encoding))]
        assert read == list(case.rows)


def obey(case: Case, argv: list[str], refusal: str, models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    """Do what the hint of a refusal says: it helps, or there is another reason, and not the same one, to refuse."""
    obeyed = obedient(case, argv, hints[refusal.removeprefix("error: ")])
    if obeyed is None:
        return
    command, argv = obeyed
    here = Path.cwd()
    write_files(here, case.mends)
    status = run_up_to_training(command, [models.fill(word, here) for word in argv])
    printed = capsys.readouterr().err
    again = next((line for line in printed.splitlines() if line.startswith("error: ")), "")
    assert status == (2 if case.then else 0), f"{refusal}\n{argv}\n{printed}"
    assert case.then in again and again != refusal, again


def test_the_tables_hold_every_kind_of_bad_input() -> None:
    assert len(CASES) >= 200
    assert len({parameter.id for parameter in CASES}) == len(CASES)
    commands = {case.command for cases in TABLES.values() for case in cases}
    assert commands >= {"classify", "nsp", "check", "predict", "report", "compare", "recipes"}
