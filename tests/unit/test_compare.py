"""Two runs against each other: the verdict, and what cannot be compared."""

import json

import numpy as np
import pandas
import pytest
from finished_runs import finished_run
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from bertlab.commands import compare
from bertlab.commands.aligned import aligned
from bertlab.evaluation.metrics import METRICS
from bertlab.report.run_folder import RunFolder


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
    assert status == 0 and "A is good, B is bad." in out and "good is significantly better than bad" in out
    assert ("McNemar" in out) == (kind != "regression")
    assert "worse" not in out
    turned = run(capsys, bad, good)[1]
    assert "bad is significantly worse than good" in turned and "better than" not in turned


def test_rows_in_groups_have_no_test_of_independent_rows(tmp_path):
    folders = [finished_run(tmp_path / name, "three", seed=seed) for seed, name in enumerate("ab")]
    for folder in folders:
        path = folder / "predictions" / "validation.tsv"
        header, *lines = path.read_text().splitlines()
        grouped = [f"{line}\t{number // 4}" for number, line in enumerate(lines)]
        path.write_text("\n".join([f"{header}\tgroup", *grouped, ""]))
    _, notes = compare.compare_runs(*map(RunFolder.read, folders), None, None)
    assert notes[0] == "On validation 30 groups of rows are resampled, not rows."
    assert notes[1].startswith("On validation only A is correct on ") and "McNemar" not in notes[1]


def test_a_run_is_not_significantly_different_from_itself(tmp_path, capsys):
    folder = finished_run(tmp_path / "run", "three")
    status, out, _ = run(capsys, folder, folder)
    assert status == 0 and "is not significantly different from" in out and "better than" not in out
    assert f"A is {folder}, B is {folder}." in out and "p = 1." in out


def test_the_scores_are_those_of_the_runs(tmp_path):
    first, second = (RunFolder.read(finished_run(tmp_path / str(seed), "multi", seed=seed)) for seed in (0, 1))
    rows = aligned([first, second], "validation")
    for side, run in zip(rows.predicted, (first, second), strict=True):
        for name, one in run.scored["validation"]["metrics"].items():
            assert METRICS[name](METRICS[name].read(side), rows.labels) == pytest.approx(one["value"])


def test_classes_are_matched_by_name_not_by_order(tmp_path):
    folder = finished_run(tmp_path / "a", "three")
    other = finished_run(tmp_path / "b", "three")
    results = json.loads((other / "results.json").read_text())
    results["class_names"].reverse()
    (other / "results.json").write_text(json.dumps(results))
    rows = aligned([RunFolder.read(folder), RunFolder.read(other)], "validation")
    assert all(np.array_equal(*columns) for columns in zip(*rows.predicted, strict=True))


def test_one_metric_and_one_split_can_be_named(tmp_path, capsys):
    folder = finished_run(tmp_path / "run", "binary")
    status, out, _ = run(capsys, folder, folder, "--metric", "f1", "--split", "validation")
    assert status == 0 and "\nvalidation  f1 " in out and "accuracy" not in out
    status, _, err = run(capsys, folder, folder, "--metric", "acuracy")
    assert status == 2 and "Did you mean 'accuracy'?" in err
    status, _, err = run(capsys, folder, folder, "--metric", "pearson")
    assert status == 2 and "is for regression" in err
    status, _, err = run(capsys, folder, folder, "--split", "test")
    assert status == 2 and "has no scores for a split 'test'" in err
    status, _, err = run(capsys, folder, folder, "--spl", "validation")
    assert status == 2 and "Did you mean 'split'? Flags are not abbreviated." in err


def test_what_differs_is_named(tmp_path, capsys):
    first = finished_run(tmp_path / "a", "binary")
    fewer = finished_run(tmp_path / "fewer", "binary", rows=100)
    edit_run(fewer, data={"validation": {"fingerprint": "another"}})
    _, _, err = run(capsys, first, fewer)
    assert "A has 120 rows and B 100" in err and "the labels are the same" not in err
    moved = finished_run(tmp_path / "moved", "binary")
    edit(moved, 3, 0, "77")
    assert "idx differs in 1 of 120 rows, first in row 3: '2' in A and '77' in B" in run(capsys, first, moved)[2]
    relabelled = finished_run(tmp_path / "relabelled", "binary")
    label = RunFolder.read(relabelled).predictions("validation").labels[4]
    edit(relabelled, 5, 1, "acceptable" if label == "unacceptable" else "unacceptable")
    assert "label differs in 1 of 120 rows, first in row 5" in run(capsys, first, relabelled)[2]
    three = finished_run(tmp_path / "three", "three")
    status, _, err = run(capsys, first, three, "--metric", "accuracy")
    assert status == 2 and "different classes: only one of them has acceptable, negative" in err
    number = finished_run(tmp_path / "number", "regression")
    for words in ((), ("--metric", "accuracy")):
        assert "Compare runs of one kind" in run(capsys, first, number, *words)[2]
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
    rows = aligned([RunFolder.read(folder) for folder in folders], "validation")
    assert len(rows.labels) == len(rows.predicted[0].predictions) == 119


def edit_run(folder, **changes):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, **changes}))
    return run


def suites(tmp_path, kind="binary", skills=(2.0, 0.05), seeds=((1, 2, 3), (1, 2, 3))):
    folders = [tmp_path / name for name in ("good", "bad")]
    for folder, skill, own in zip(folders, skills, seeds, strict=True):
        for seed in own:
            folder_of_seed = finished_run(folder / f"seed{seed}", kind, rows=200, skill=skill, seed=seed)
            edit_run(folder_of_seed, seed=seed)
    return folders


def test_two_folders_of_runs_are_compared_seed_by_seed(tmp_path, capsys):
    good, bad = suites(tmp_path, seeds=((1, 2, 3, 4), (2, 3, 4, 5)))
    for folder in good.iterdir():
        learned = {"log_history": [{"epoch": 1.0, "loss": 0.1}]}
        (folder / "trainer_state.json").write_text(json.dumps(learned))
    status, out, _ = run(capsys, good, bad)
    assert status == 0 and f"A is {good}, B is {bad}." in out and "of the same seed: 2, 3, 4." in out
    assert out.count(f"{good} is significantly better than {bad}: ") == 2 and "n = 3 seeds." in out
    assert "100%" in out and "degenerate runs: 0 of A, 3 of B" in out
    means = [
        np.mean(
            [
                RunFolder.read(side / f"seed{seed}").scored["validation"]["metrics"]["accuracy"]["value"]
                for seed in (2, 3, 4)
            ]
        )
        for side in (good, bad)
    ]
    assert f"{means[0] - means[1]:+.4f}" in out


def test_two_folders_of_like_runs_are_not_significantly_different(tmp_path, capsys):
    first, second = suites(tmp_path, skills=(1.0, 1.0))
    out = run(capsys, first, second, "--metric", "accuracy")[1]
    assert (
        "is not significantly different from" in out
        and "accuracy on validation +0.0000" in out
        and "matthews" not in out
    )


def test_where_less_is_better_the_smaller_mean_wins(tmp_path, capsys):
    good, bad = suites(tmp_path, "regression")
    out = run(capsys, good, bad, "--metric", "mse")[1]
    assert f"{good} is significantly better than {bad}: mse on validation -" in out and "100%" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda good, bad: (good, bad / "seed1"), "seed1 holds no finished runs of several seeds"),
        (lambda good, bad: (good.parent, bad), "holds several runs of one seed. Name one of its folders: "),
        (lambda good, bad: (good, bad, "--metric", "acuracy"), "--metric acuracy: not scored by all of these runs. "),
        (lambda good, bad: (good, bad, "--split", "dev"), "--split dev: not scored by all of these runs."),
    ],
)
def test_folders_that_cannot_be_compared_are_refused(tmp_path, capsys, change, message):
    status, _, err = run(capsys, *change(*suites(tmp_path)))
    assert status == 2 and message in " ".join(err.split())


def test_folders_without_two_seeds_in_common_or_with_other_rows_are_refused(tmp_path, capsys):
    good, bad = suites(tmp_path, seeds=((1, 2), (2, 3)))
    status, _, err = run(capsys, good, bad)
    assert status == 2 and "has the seeds 1, 2 and" in err and "fewer than two are in both" in err
    edit_run(finished_run(bad / "seed1", "binary", rows=200), seed=1)
    for seed in (2, 1):  # the last and then the first of those in both
        data = edit_run(bad / f"seed{seed}", seed=seed)["data"]
        data["validation"]["fingerprint"] = "of other rows"
        edit_run(bad / f"seed{seed}", seed=seed, data=data)
        status, _, err = run(capsys, good, bad)
        assert status == 2 and "did not see the same data (split validation)" in err
        assert f"{good}/seed{seed} and" in err


def test_folders_that_share_no_score_are_refused(tmp_path, capsys):
    good, bad = suites(tmp_path)
    for seed in (1, 2, 3):
        results = json.loads((bad / f"seed{seed}" / "results.json").read_text())
        results["splits"] = {"test": results["splits"]["validation"]}
        (bad / f"seed{seed}" / "results.json").write_text(json.dumps(results))
    for flags in ((), ("--metric", "accuracy")):
        status, out, err = run(capsys, good, bad, *flags)
        assert status == 2 and out == ""
        assert f"{good} and {bad} share no score: no metric of one split is in all their runs. Name two" in err


def test_a_split_that_was_scored_by_another_metric_is_refused(tmp_path, capsys):
    folders = suites(tmp_path)
    for folder in folders:
        for seed in (1, 2, 3):
            results = json.loads((folder / f"seed{seed}" / "results.json").read_text())
            validation = results["splits"]["validation"]
            test = {**validation, "metrics": {"f1": validation["metrics"]["accuracy"]}}
            results["splits"] = {"validation": validation, "test": test}
            written = folder / f"seed{seed}" / "predictions"
            (written / "test.tsv").write_text((written / "validation.tsv").read_text())
            (folder / f"seed{seed}" / "results.json").write_text(json.dumps(results))
    status, out, err = run(capsys, *folders, "--split", "test", "--metric", "accuracy")
    assert status == 2 and out == "" and "--metric accuracy: not scored by all of these runs. Choose from: f1" in err


@pytest.mark.parametrize("positive", ["unacceptable", "acceptable"])
def test_a_metric_of_probabilities_is_compared_for_the_positive_class(tmp_path, positive):
    folders = [finished_run(tmp_path / str(seed), rows=80, seed=seed) for seed in (0, 1)]
    for folder in folders:
        results = json.loads((folder / "results.json").read_text())
        (folder / "results.json").write_text(json.dumps({**results, "positive_class": positive}))
    frames = [pandas.read_csv(folder / "predictions" / "validation.tsv", sep="\t") for folder in folders]
    for name, oracle in (
        ("average_precision", average_precision_score),
        ("roc_auc", roc_auc_score),
        ("log_loss", log_loss),
    ):
        a, b = map(RunFolder.read, folders)
        ((score,), _) = compare.compare_runs(a, b, "validation", name)
        expected = [oracle(frame["label"] == positive, frame[f"probability_{positive}"]) for frame in frames]
        assert (score.a, score.b) == tuple(f"{value:.4f}" for value in expected)
        assert score.comparison.difference == pytest.approx(expected[0] - expected[1])
        assert score.comparison.greater_is_better == (name != "log_loss")


def test_a_run_that_predicts_no_number_is_not_comparable(tmp_path, capsys):
    folders = [finished_run(tmp_path / name, "regression", rows=20) for name in "ab"]
    edit(folders[1], 3, 2, "")
    assert "a is not comparable with b: mse on validation, n = 20 examples." in run(capsys, *folders)[1]
