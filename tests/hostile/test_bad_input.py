"""Bad input, case by case: exit status 2, one line that says what, where and the way out, and nothing touched.

Every case goes through the `main` of the real script or subcommand. The tables are in cases_*.py.
"""

import sys
import io
from pathlib import Path

import cases_data
import cases_flags
import cases_models
import cases_recipes
import pytest
from bad_input import GOOD_FILES, Case, Models, contents, library_messages_on_stderr, run, words, write_files

TABLES = {"flags": cases_flags, "recipes": cases_recipes, "data": cases_data, "models": cases_models}
CASES = [
    pytest.param(case, id=f"{table}: {case.name}".replace("/", " ")) for table, module in TABLES.items() for case in module.CASES
]


@pytest.fixture(scope="session")
def models(tiny_model, tmp_path_factory):
    return Models(tiny_model, tmp_path_factory.mktemp("broken-models"))


@pytest.mark.parametrize("case", CASES)
def test_input(case: Case, models: Models, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(case.stdin))
    write_files(tmp_path, {**GOOD_FILES, **case.files})
    argv = words(case, {"here": str(tmp_path), **{n: str(models[n]) for n in PLACES if f"{{{n}}}" in " ".join(words(case, {}))}})
    before = contents(tmp_path, models.sound, models.folder)
    with library_messages_on_stderr():
        try:
            status = run(case, argv)
        except BaseException as e:
            open("/tmp/wt/hostile.hf/log.txt", "a").write(f"## {case.command} {case.name}: RAISED {e!r:.600}\n{capsys.readouterr().err}\n")
            raise
    said = capsys.readouterr()
    open("/tmp/wt/hostile.hf/log.txt", "a").write(f"## {case.command} {case.name}: {status}\n{said.err}\n")
    assert contents(tmp_path, models.sound, models.folder) == before
    told = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    if case.rows is None:
        assert status == 2
        assert len(told) == 1 and told[0].startswith("error: "), said.err
        for part in case.says:
            assert part in told[0], part
    else:
        assert status == 0
        assert not told
        for part in case.says:
            assert part in said.out
    notes = [l for l in said.err.splitlines() if l.startswith("note: ")]


PLACES = [name[1:] for name in vars(Models) if name.startswith("_") and name[1:2].isalpha() and name not in ("_copy", "_change")] + ["model"]
