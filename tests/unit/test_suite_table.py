"""Rows over seeds, failed runs, and verdicts that say no more than the seeds allow."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from finished_runs import finished_run

from bertlab import console
from bertlab.__main__ import main
from bertlab.commands import suite_table
from bertlab.errors import UserError
from bertlab.evaluation import degenerate, statistics
from bertlab.io import write_json
from bertlab.report.run_folder import RunFolder


def read(tmp_path, kind="binary", seeds=3, **settings):
    folders = [finished_run(tmp_path / f"{kind}{seed}", kind, seed=seed, **settings) for seed in range(seeds)]
    for seed, folder in enumerate(folders):
        content = json.loads((folder / "run.json").read_text())
        write_json(folder / "run.json", {**content, "seed": seed})
    return [RunFolder.read(folder) for folder in folders]


def unread(results, configuration):
    """Return a run without a folder."""
    return RunFolder(Path(), {"problem_type": "", **results}, {"configuration": configuration}, [])


def test_a_row_is_what_the_runs_say(tmp_path):
    runs = read(tmp_path)
    scores = [run.results["splits"]["validation"]["metrics"]["matthews_correlation"]["value"] for run in runs]
    row = suite_table.rows("example", runs)[0]
    assert (row.metric, row.split, row.n, row.examples, row.failed) == (
        "matthews_correlation",
        "validation",
        3,
        120,
        0,
    )
    assert row.mean == pytest.approx(sum(scores) / 3)
    assert (row.minimum, row.maximum) == (min(scores), max(scores))
    assert row.baselines == {"majority": 0.0}
    assert (row.published, row.source, row.model) == (0.99, "a paper, table 2", "bert-base-cased")
    text = suite_table.render([row], "text")
    assert "significantly worse than the published 0.99 (of another model)" in text
    assert "Published for example: a paper, table 2." in text


@pytest.mark.parametrize("kind", ["binary", "three", "multi", "regression"])
def test_every_kind_of_task_has_a_table_in_every_form(tmp_path, kind):
    rows = suite_table.rows("x", read(tmp_path, kind, seeds=2))
    assert len(rows) == 2
    for form in ("text", *suite_table.FILES):
        assert rows[0].metric in suite_table.render(rows, form)
    assert len(suite_table.render(rows, "csv").splitlines()) == 3


def test_unknown_numbers_are_null_in_json_and_empty_in_csv(tmp_path):
    rows = suite_table.rows("x", read(tmp_path, seeds=1))
    assert rows[0].verdict == "not comparable: one seed"
    assert json.loads(suite_table.render(rows, "json"))[0]["sd"] is None
    assert "nan" not in suite_table.render(rows, "csv")
    written = suite_table.render(rows, "json")
    assert suite_table.render(suite_table.from_json(json.loads(written)), "markdown") == suite_table.render(
        rows, "markdown"
    )


def test_runs_on_other_data_have_no_common_mean(tmp_path):
    runs = read(tmp_path, seeds=2)
    runs[1].run["data"]["validation"]["fingerprint"] = "other"
    with pytest.raises(UserError, match=r"did not see the same data \(split validation\)"):
        suite_table.rows("x", runs)


@pytest.mark.parametrize(
    ("values", "published", "expected"),
    [
        ([0.50, 0.52, 0.54], 0.53, "not significantly different from the published 0.53"),
        # Outside the mean's interval (0.470 to 0.570) and yet where one more seed may fall (0.420 to 0.620).
        ([0.50, 0.52, 0.54], 0.60, "not significantly different from the published 0.6"),
        ([0.50, 0.52, 0.54], 0.65, "significantly worse than the published 0.65"),
        ([0.50, 0.52, 0.54], 0.35, "significantly better than the published 0.35"),
        ([0.50, 0.50], 0.65, "not comparable with the published 0.65"),
        ([0.50], 0.65, "not comparable: one seed"),
        ([], 0.65, "no score"),
        ([0.50, 0.52], None, "2 seeds, nothing to compare with"),
    ],
)
def test_the_verdict_respects_the_noise(values, published, expected):
    spread = statistics.mean_sd_interval(values)
    assert suite_table.verdict(spread, published=published, same_model=True, leads={}) == expected


@pytest.mark.parametrize(
    ("published", "expected"), [(0.5634, "not significantly different"), (0.9, "significantly worse")]
)
def test_runs_that_all_score_the_same_are_compared_over_their_examples(published, expected):
    """As in WNLI, where every seed predicts the majority: 40 of 71, which is published as 0.5634."""
    same = statistics.mean_sd_interval([40 / 71] * 5)._replace(low=0.448, high=0.673)
    assert suite_table.verdict(same, published=published, same_model=True, leads={}).startswith(expected)


@pytest.mark.parametrize(
    ("baselines", "metric", "expected"),
    [
        ({"majority": [0.4] * 3, "tfidf": [0.46] * 3}, "accuracy", "significantly better than its baselines"),
        (
            {"majority": [0.4] * 3, "tfidf": [0.48] * 3},
            "accuracy",
            "not significantly different from TF-IDF + logistic regression",
        ),
        ({"mean": [0.6] * 3}, "mse", "significantly better than its baselines"),
        ({"mean": [0.5] * 3}, "mse", "not significantly different from mean of the training labels"),
        # One that changes with the seed: its mean of 0.45 is below 0.470, but a seed's run is not surely above it.
        (
            {"majority": [0.4] * 3, "zero_shot": [0.30, 0.51, 0.54]},
            "accuracy",
            "not significantly different from zero-shot",
        ),
        # And one that rises and falls with the run is beaten by every seed, though its mean is 0.49.
        ({"zero_shot": [0.47, 0.49, 0.51]}, "accuracy", "significantly better than its baselines"),
        # A seed for which it is undefined is left out.
        ({"zero_shot": [0.47, 0.49, None]}, "accuracy", "significantly better than its baselines"),
        ({"zero_shot": [0.47, None, None]}, "accuracy", "3 seeds, nothing to compare with"),
    ],
)
def test_the_verdict_names_the_baseline_that_is_not_beaten(baselines, metric, expected):
    runs = []
    for seed, score in enumerate((0.50, 0.52, 0.54)):  # 0.470 to 0.570
        controls = {name: {"metrics": {metric: values[seed]}} for name, values in baselines.items()}
        split = {"rows": 9, "metrics": {metric: {"value": score}}, "baselines": controls}
        runs.append(unread({"splits": {"validation": split}}, {}))
    (row,) = suite_table.rows("x", runs)
    assert row.verdict == expected
    means = {name: [value for value in values if value is not None] for name, values in baselines.items()}
    assert row.baselines == {name: pytest.approx(sum(values) / len(values)) for name, values in means.items()}


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("google-bert/bert-base-uncased, dev set", True),
        ("(bert-base-uncased)", True),
        ("distilbert-base-uncased's card", False),
        ("bert-base-uncased-finetuned", False),
        ("a paper, table 2", False),
    ],
)
def test_a_published_value_is_of_the_model_that_its_source_names_as_a_word(source, same):
    published = {"split": "validation", "values": {"accuracy": 0.5}, "source": source}
    split = {"rows": 9, "metrics": {"accuracy": {"value": 0.5}}}
    run = unread(
        {"splits": {"validation": split}, "published": published},
        {"model_name_or_path": "google-bert/bert-base-uncased"},
    )
    (row,) = suite_table.rows("x", [run, run])
    assert ("of another model" not in row.verdict) == same


def test_bars_and_line_ends_in_a_cell_do_not_break_a_table():
    made = console.markdown(("a|b", "c"), [("1\n2", 3), ("", "|")], right=[1])
    assert made.splitlines() == ["| a\\|b | c |", "| --- | ---: |", "| 1 2 | 3 |", "|  | \\| |"]


def test_a_run_that_predicts_one_class_has_failed():
    assert degenerate.only_class({"confusion": [[5, 0], [4, 0]]}) == 0
    assert degenerate.only_class({"confusion": [[0, 5], [0, 4]]}) == 1
    assert degenerate.only_class({"confusion": [[5, 0], [3, 1]]}) is None
    assert degenerate.only_class({"confusion": [[1, 0], [0, 0]]}) is None
    assert degenerate.only_class({"confusion": [[0, 0], [0, 9]]}) is None  # rightly so: all examples have it
    assert degenerate.only_class({}) is None


SINGLE, MULTI = "single_label_classification", "multi_label_classification"


@pytest.mark.parametrize(
    ("configuration", "problem", "train", "constant"),
    [
        ({}, SINGLE, {"balance": {"a": 5, "b": 5}}, math.log(2)),
        ({}, SINGLE, {"balance": {"a": 9, "b": 1}}, -0.9 * math.log(0.9) - 0.1 * math.log(0.1)),
        ({"class_weights": "balanced"}, SINGLE, {"balance": {"a": 9, "b": 1}}, math.log(2)),
        ({"class_weights": {"b": 9.0}}, SINGLE, {"balance": {"a": 9, "b": 1}}, math.log(2)),
        ({"class_weights": "balanced"}, MULTI, {"balance": {"a": 4, "b": 4}}, 1.2 * math.log(2)),
        ({"label_smoothing_factor": 1.0}, SINGLE, {"balance": {"a": 9, "b": 1}}, math.log(2)),
        ({}, MULTI, {"balance": {"a": 5, "b": 10}}, math.log(2) / 2),
        ({}, "regression", {"balance": {}, "label_variance": 2.25}, 2.25),
        ({}, "regression", {"balance": {}}, None),
        ({"objective": "nsp+mlm"}, SINGLE, {"balance": {"a": 5, "b": 5}}, None),
    ],
)
def test_the_constant_loss_is_that_of_the_best_constant(configuration, problem, train, constant):
    run = {"configuration": configuration, "data": {"train": {"labelled": 10, **train}}}
    found = degenerate.constant_loss(run, problem)
    assert found == (None if constant is None else pytest.approx(constant))


def test_the_training_loss_of_the_last_epoch_decides():
    run = {"configuration": {}, "data": {"train": {"labelled": 10, "balance": {"a": 5, "b": 5}}}}
    learned = [{"epoch": 0.5, "loss": 0.9}, {"epoch": 1.5, "loss": 0.7}, {"epoch": 2.0, "loss": 0.6}]
    stuck = [*learned, {"epoch": 3.0, "loss": 0.70}]
    assert degenerate.last_epoch_loss(learned) == pytest.approx(0.65)
    assert degenerate.is_degenerate(run, SINGLE, learned) is False
    assert degenerate.is_degenerate(run, SINGLE, stuck) is True
    assert degenerate.is_degenerate(run, SINGLE, []) is None


def test_failed_runs_are_counted(tmp_path):
    runs = read(tmp_path, seeds=2)
    one_class = runs[1].results["splits"]["validation"]["confusion"]
    for row in one_class:
        row[:] = [sum(row), 0]
    assert suite_table.rows("x", runs)[0].failed == 1


def test_the_variance_of_numbers_to_predict_is_kept():
    from datasets import Dataset

    from bertlab.data import labels, summary

    split = Dataset.from_dict({"labels": [0.0, 2.0, 4.0, math.nan]})
    regression = labels.LabelSchema(labels.REGRESSION, (), {})
    summarized = summary.summarize_split(split, np.array([3, 4, 5, 6]), regression, 9)
    assert summarized["labelled"] == 3
    assert summarized["label_variance"] == pytest.approx(8 / 3)


def test_the_interval_is_over_seeds_and_examples(tmp_path):
    runs = read(tmp_path, seeds=3)
    row = suite_table.rows("x", runs)[1]
    over_seeds = statistics.mean_sd_interval([run.scores("validation")["accuracy"] for run in runs])
    assert (row.mean, row.sd) == (pytest.approx(over_seeds.mean), pytest.approx(over_seeds.sd))
    examples = math.sqrt(row.mean * (1 - row.mean) / 120)
    assert row.high - row.low > 2 * examples
    assert row.seeds_for_a_point == statistics.seeds_needed(row.sd)
    assert f"(power 80%) with {row.seeds_for_a_point:,} seeds of each setting" in suite_table.render([row], "text")


def test_rows_that_look_unlabelled_leave_the_interval_over_seeds(tmp_path, capsys):
    """In multi-label data an empty cell is a row without a label or of no class: which rows count is not known."""
    runs = read(tmp_path, "multi", seeds=2)
    for run in runs:
        run.results["splits"]["validation"]["labelled"] = 119
        write_json(run.path / "results.json", run.results)
    row = suite_table.rows("task", runs)[0]
    over_seeds = suite_table.summary_of([run.scores("validation")[row.metric] for run in runs])
    assert (row.low, row.high, row.examples) == (over_seeds.low, over_seeds.high, 119)
    assert main(["compare", *(str(run.path) for run in runs)]) == 2
    assert "rows without a label look like rows of no class. Compare on a split" in capsys.readouterr().err


def led(name, leads, half=0.0):
    """Rows of a task that leads its baseline by so much with each seed, with a 95% CI over examples of ± half."""
    runs = []
    for value in leads:
        ends = {"difference": {"accuracy": {"low": value - half, "high": value + half}}} if half else {}
        split = {"rows": 100, "metrics": {"accuracy": {"value": 0.5 + value}}}
        split["baselines"] = {"majority": {"metrics": {"accuracy": 0.5}, **ends}}
        runs.append(unread({"splits": {"validation": split}}, {}))
    return suite_table.rows(name, runs)


def test_several_tasks_are_corrected_for_their_number():
    rows = [*led("easy", (0.3, 0.31, 0.325)), *led("hard", (0.02, 0.03, 0.045))]
    p = [row.p_value for row in rows]
    assert p[0] < p[1] < 0.05
    found = suite_table.corrected(rows)
    assert f"p = {p[0]:.2g}, {2 * p[0]:.2g} after Holm's correction for 2 tasks" in found[0].verdict
    assert f"p = {p[1]:.2g}, {max(p[1], 2 * p[0]):.2g} after" in found[1].verdict
    assert suite_table.corrected(rows[:1]) == rows[:1]


def test_the_word_and_the_corrected_p_value_agree():
    # Student's t of each has p = 0.039: significant alone, and of two not (0.078).
    rows = [*led("a", (0.02, 0.03, 0.045)), *led("b", (0.02, 0.03, 0.045))]
    assert all(row.p_value < 0.05 and row.verdict == "significantly better than its baselines" for row in rows)
    p = scipy.stats.ttest_1samp([0.02, 0.03, 0.045], 0).pvalue
    for row in suite_table.corrected(rows):
        assert row.verdict == (
            "not significantly different from majority class; against majority class "
            f"p = {p:.2g}, {2 * p:.2g} after Holm's correction for 2 tasks"
        )
    assert "after Holm's correction" in suite_table.render(rows, "markdown")


def test_a_baseline_is_compared_over_seeds_and_examples():
    # Alike in each seed, and yet no better on other examples.
    assert led("a", (0.02, 0.021, 0.019))[0].verdict == "significantly better than its baselines"
    assert led("a", (0.02, 0.021, 0.019), half=0.03)[0].verdict == "not significantly different from majority class"
    assert led("a", (0.04, 0.041, 0.039), half=0.03)[0].verdict == "significantly better than its baselines"
