"""misclassified/<split>.tsv: its columns, and that it is read back."""

import pytest
from finished_runs import finished_run

from bertlab.report.run_folder import RunFolder


@pytest.mark.parametrize(("kind", "column"), [("three", "confidence"), ("regression", "absolute_error")])
def test_a_probability_and_an_error_have_names_of_their_own(tmp_path, kind, column):
    path = finished_run(tmp_path, kind) / "misclassified" / "validation.tsv"
    header, first = (line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[:2])
    assert header == ["idx", "label", "prediction", column, "tokens", "truncated", "text", "text_pair"]
    if kind == "regression":
        assert float(first[3]) == pytest.approx(abs(float(first[1]) - float(first[2])), abs=1e-4)


def test_files_of_earlier_versions_are_read(tmp_path):
    folder = finished_run(tmp_path, "regression")
    path = folder / "misclassified" / "validation.tsv"
    new = RunFolder.read(folder).misclassified
    path.write_text(path.read_text(encoding="utf-8").replace("absolute_error", "confidence", 1), encoding="utf-8")
    path.parent.rename(folder / "errors")
    assert RunFolder.read(folder).misclassified == new
