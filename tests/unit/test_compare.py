"""Two runs against each other: the verdict, and what cannot be compared."""

import json

import numpy as np
import pytest
from finished_runs import finished_run

from bertlab import compare
from bertlab.report.folder import RunFolder
from bertlab.scores import METRICS


def run(capsys, *argv):
    status = compare.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def edit(folder, line, cell, value, split="validation"):
    path = folder / "predictions" / f"{split}.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    cells = lines[line].split("\t")
    cells[cell] = value
    lines[line] = "\t".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("kind", ["binary", "three", "multi", "regression"])
def test_a_better_run_is_called_better(tmp_path, capsys, kind):
    good = finished_run(tmp_path / "good", kind, rows=300, skill=2.0)
    bad = finished_run(tmp_path / "bad", kind, rows=300, skill=0.05, seed=1)
    status, out, _ = run(capsys, good, bad)
    assert status == 0 and "A is good, B is bad." in out and "good is better than bad" in out
    assert ("McNemar" in out) == (kind != "regression")
    assert "bad is better" not in out
    turned = run(capsys, bad, good)[1]
    assert "good is better than bad" in turned and "bad is better" not in turned


def test_a_run_cannot_be_told_from_itself(tmp_path, capsys):
    folder = finished_run(tmp_path / "run", "three")
    status, out, _ = run(capsys, folder, folder)
    assert status == 0 and "cannot be told apart" in out and "is better than" not in out
    assert f"A is {folder}, B is {folder}." in out and "p = 1 " in out


def test_the_scores_are_those_of_the_runs(tmp_path):
    first, second = (RunFolder.read(finished_run(tmp_path / str(seed), "multi", seed=seed)) for seed in (0, 1))
    rows = compare.paired(first, second, "validation")
    for side, told in ((rows.said_a, first), (rows.said_b, second)):
        for name, one in told.scored["validation"]["metrics"].items():
            assert METRICS[name](side, rows.truth) == pytest.approx(one["value"])


def test_classes_are_matched_by_name_not_by_order(tmp_path):
    folder = finished_run(tmp_path / "a", "three")
    other = finished_run(tmp_path / "b", "three")
    results = json.loads((other / "results.json").read_text())
    results["class_names"].reverse()
    (other / "results.json").write_text(json.dumps(results))
    rows = compare.paired(RunFolder.read(folder), RunFolder.read(other), "validation")
    assert np.array_equal(rows.said_a, rows.said_b)


def test_one_metric_and_one_split_can_be_named(tmp_path, capsys):
    folder = finished_run(tmp_path / "run", "binary")
    status, out, _ = run(capsys, folder, folder, "--metric", "f1", "--split", "validation")
    assert status == 0 and "\nf1 " in out and "accuracy" not in out
    status, _, err = run(capsys, folder, folder, "--metric", "acuracy")
    assert status == 2 and "Did you mean 'accuracy'?" in err
    status, _, err = run(capsys, folder, folder, "--metric", "pearson")
    assert status == 2 and "is for regression" in err
    status, _, err = run(capsys, folder, folder, "--split", "test")
    assert status == 2 and "has no scores for a split 'test'" in err
    status, _, err = run(capsys, folder, folder, "--spl", "validation")
    assert status == 2 and "Did you mean '--split'? Options are not abbreviated." in err


def test_what_differs_is_named(tmp_path, capsys):
    first = finished_run(tmp_path / "a", "binary")
    fewer = finished_run(tmp_path / "fewer", "binary", rows=100)
    assert "A has 120 rows and B 100" in run(capsys, first, fewer)[2]
    moved = finished_run(tmp_path / "moved", "binary")
    edit(moved, 3, 0, "77")
    assert "idx differs in 1 of 120 rows, first in row 3: '2' in A and '77' in B" in run(capsys, first, moved)[2]
    relabelled = finished_run(tmp_path / "relabelled", "binary")
    truth = RunFolder.read(relabelled).predictions("validation").labels[4]
    edit(relabelled, 5, 1, "acceptable" if truth == "unacceptable" else "unacceptable")
    assert "label differs in 1 of 120 rows, first in row 5" in run(capsys, first, relabelled)[2]
    three = finished_run(tmp_path / "three", "three")
    status, _, err = run(capsys, first, three, "--metric", "accuracy")
    assert status == 2 and "different classes: only one of them has acceptable, negative" in err
    number = finished_run(tmp_path / "number", "regression")
    assert "the runs share no metric" in run(capsys, first, number)[2]
    assert "Compare runs of one kind" in run(capsys, first, number, "--metric", "accuracy")[2]
    blind = finished_run(tmp_path / "blind", "binary", labelled=False)
    assert "share no scored split" in run(capsys, first, blind)[2]
    status, _, err = run(capsys, first, tmp_path / "nothing")
    assert status == 2 and "no such folder" in err


def test_rows_without_a_label_are_left_out(tmp_path):
    folders = [finished_run(tmp_path / name, "three") for name in "ab"]
    for folder in folders:
        edit(folder, 1, 1, "")
        results = json.loads((folder / "results.json").read_text())
        results["splits"]["validation"]["labelled"] = 119
        (folder / "results.json").write_text(json.dumps(results))
    rows = compare.paired(*(RunFolder.read(folder) for folder in folders), "validation")
    assert len(rows.truth) == len(rows.said_a) == 119
