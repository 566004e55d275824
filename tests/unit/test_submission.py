"""The GLUE server's zip file: names, header, ids and label strings of all eleven files, and what is refused."""

import io
import json
import zipfile

import pytest

from bertlab.commands import submission

# The test split of each file as the server knows it, written here once more by hand.
ROWS = {
    "CoLA.tsv": 1063,
    "SST-2.tsv": 1821,
    "MRPC.tsv": 1725,
    "STS-B.tsv": 1379,
    "QQP.tsv": 390965,
    "MNLI-m.tsv": 9796,
    "MNLI-mm.tsv": 9847,
    "QNLI.tsv": 5463,
    "RTE.tsv": 3000,
    "WNLI.tsv": 146,
    "AX.tsv": 1104,
}
THREE = ("entailment", "neutral", "contradiction")
# Task: its predictions by turns, and what the server is to read for them.
PREDICTIONS = {
    "cola": (("unacceptable", "acceptable"), ("0", "1")),
    "sst2": (("negative", "positive"), ("0", "1")),
    "mrpc": (("not_equivalent", "equivalent"), ("0", "1")),
    "stsb": (("-0.3127", "2.5000", "5.0801"), ("0.0000", "2.5000", "5.0000")),
    "qqp": (("not_duplicate", "duplicate"), ("0", "1")),
    "mnli": (THREE, THREE),
    "qnli": (("entailment", "not_entailment"), ("entailment", "not_entailment")),
    "rte": (("entailment", "not_entailment"), ("entailment", "not_entailment")),
    "wnli": (("not_entailment", "entailment"), ("0", "1")),
    "ax": (THREE, THREE),
}
SPLITS = {"mnli": {"test_matched": 9796, "test_mismatched": 9847}}
SINGLE = {"cola": 1063, "sst2": 1821, "mrpc": 1725, "stsb": 1379, "qqp": 390965, "qnli": 5463, "rte": 3000}
SPLITS |= {task: {"test": rows} for task, rows in {**SINGLE, "wnli": 146, "ax": 1104}.items()}


def glue_run(folder, task, **configuration):
    """Write what a finished run of a GLUE task leaves of its test predictions."""
    predictions, _ = PREDICTIONS[task]
    (folder / "predictions").mkdir(parents=True)
    for split, rows in SPLITS[task].items():
        lines = [f"{row}\t\t{predictions[row % len(predictions)]}" for row in range(rows)]
        content = "\n".join(["idx\tlabel\tprediction", *lines, ""])
        (folder / "predictions" / f"{split}.tsv").write_text(content, encoding="utf-8")
    kind = "regression" if task == "stsb" else "single_label_classification"
    results = {"problem_type": kind, "splits": {split: {"rows": rows} for split, rows in SPLITS[task].items()}}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    run = {"recipe": task, "configuration": {"data_layout": f"glue/{task}", **configuration}}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def submit(capsys, *argv):
    status = submission.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refused(capsys, output, *argv):
    """Return the one line that a refusal is, after checking that nothing was written."""
    before = output.read_bytes() if output.is_file() else None
    status, out, err = submit(capsys, *argv, "--output", output)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert (output.read_bytes() if output.is_file() else None) == before
    return err


def rewrite(folder, change, split="test"):
    path = folder / "predictions" / f"{split}.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*change(lines), ""]), encoding="utf-8")


@pytest.fixture(scope="module")
def all_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    return [glue_run(folder / task, task) for task in PREDICTIONS]


def test_every_file_is_as_the_server_wants_it(all_runs, tmp_path, capsys):
    output = tmp_path / "submission.zip"
    status, out, err = submit(capsys, *all_runs, "--output", output)
    assert (status, err) == (0, "") and "11 of 11 files" in out and "Missing" not in out
    with zipfile.ZipFile(output) as archive:
        assert sorted(archive.namelist()) == sorted(ROWS)
        for name, rows in ROWS.items():
            _, expected = PREDICTIONS[submission.FILES[name].task]
            lines = "".join(f"{row}\t{expected[row % len(expected)]}\n" for row in range(rows))
            assert archive.read(name) == f"index\tprediction\n{lines}".encode(), name


def test_the_same_predictions_make_the_same_bytes(all_runs, tmp_path, capsys):
    runs = [run for run in all_runs if run.name in ("wnli", "ax", "stsb")]
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    submit(capsys, *runs, "--output", first)
    submit(capsys, *reversed(runs), "--output", second)
    assert first.read_bytes() == second.read_bytes()
    entries = zipfile.ZipFile(io.BytesIO(first.read_bytes())).infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_missing_tasks_are_named_and_not_made_up(tmp_path, capsys):
    output = tmp_path / "submission.zip"
    run = glue_run(tmp_path / "wnli", "wnli")
    status, out, _ = submit(capsys, run, "--output", output)
    assert status == 0 and "1 of 11 files" in out
    missing = next(line for line in out.splitlines() if line.startswith("Missing: "))
    assert all(name in missing for name in ROWS if name != "WNLI.tsv") and "WNLI.tsv" not in missing
    assert zipfile.ZipFile(output).namelist() == ["WNLI.tsv"]


def test_an_output_that_is_there_is_kept_unless_told(tmp_path, capsys):
    output = tmp_path / "submission.zip"
    output.write_text("mine", encoding="utf-8")
    run = glue_run(tmp_path / "wnli", "wnli")
    assert "submission.zip exists" in refused(capsys, output, run)
    assert submit(capsys, run, "--output", output, "--overwrite")[0] == 0
    assert zipfile.is_zipfile(output)
    assert f"{tmp_path} exists" in refused(capsys, tmp_path, run)
    assert f"{output / 's.zip'} cannot be written: File exists." in refused(capsys, output / "s.zip", run)


def test_runs_that_do_not_belong_are_refused(tmp_path, capsys):
    output = tmp_path / "submission.zip"
    run = glue_run(tmp_path / "wnli", "wnli")
    again = glue_run(tmp_path / "again", "wnli")
    assert "are both runs of wnli" in refused(capsys, output, run, again)
    other = glue_run(tmp_path / "imdb", "wnli", data_layout=None)
    assert "is no run of a GLUE task" in refused(capsys, output, run, other)
    public = glue_run(tmp_path / "public", "wnli", data_layout="cola_public")
    assert "is no run of a GLUE task" in refused(capsys, output, public)
    (again / "run.json").unlink()
    assert "is not a finished run: run.json is missing" in refused(capsys, output, again)
    assert "no such folder" in refused(capsys, output, tmp_path / "nothing")


def test_rows_that_are_not_the_servers_are_refused(tmp_path, capsys):
    output = tmp_path / "submission.zip"

    def fault(name, change):
        folder = glue_run(tmp_path / name, "wnli")
        rewrite(folder, change)
        return refused(capsys, output, folder)

    expected = "rows and not GLUE's of wnli test, 0 to 145 in order. Predict the split as GLUE gives it"
    assert f"has 145 {expected}" in fault("short", lambda lines: lines[:-1])
    assert f"has 147 {expected}" in fault("long", lambda lines: [*lines, "146\t\tentailment"])
    assert f"has 146 {expected}" in fault("moved", lambda lines: [*lines[:5], "9\t\tentailment", *lines[6:]])
    strange = fault("strange", lambda lines: [*lines[:3], "2\t\tmaybe", *lines[4:]])
    assert "row 3: the class 'maybe' is none of wnli's" in strange
    number = glue_run(tmp_path / "stsb", "stsb")
    rewrite(number, lambda lines: [lines[0], "0\t\t", *lines[2:]])
    assert "row 1: there is no number" in refused(capsys, output, number)


def test_a_run_without_test_predictions_is_refused(tmp_path, capsys):
    folder = glue_run(tmp_path / "wnli", "wnli")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results["splits"] = {"validation": {"rows": 71}}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    message = refused(capsys, tmp_path / "submission.zip", folder)
    assert "has no predictions for test, only for validation" in message and "--do_predict" in message
