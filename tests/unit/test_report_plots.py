"""Plots of runs of every kind: which there are, and that something is on them."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from finished_runs import finished_run

from bertlab.errors import UserError
from bertlab.report import curves, html, plots
from bertlab.report.render import render
from bertlab.report.run_folder import RunFolder

pytestmark = pytest.mark.slow

TRAINED = {"loss", "metrics", "token_lengths"}
CLASSES = {f"{name}_validation" for name in ("reliability", "roc", "precision_recall", "coverage")}


def drawn(folder):
    run = RunFolder.read(folder)
    return plots.render_plots(run, {split: curves.decisions(run, split) for split in run.scored})


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("binary", {}, TRAINED | CLASSES | {"per_batch_validation"}),
        ("three", {}, TRAINED | CLASSES | {"per_batch_validation"}),
        ("multi", {}, TRAINED | CLASSES),
        ("regression", {}, TRAINED | {"predicted_validation"}),
        ("binary", {"labelled": False}, TRAINED),
        ("binary", {"trained": False}, {"token_lengths", "per_batch_validation"} | CLASSES),
    ],
)
def test_a_run_has_the_plots_that_its_data_allows(tmp_path, kind, settings, expected):
    shown = drawn(finished_run(tmp_path, kind, **settings))
    assert set(shown) == expected
    for name, svg in shown.items():
        ElementTree.fromstring(svg.replace("xlink:href", "href"))
        assert 2_000 < len(svg) < 25_000 and "var(--plot-" in svg, name


def test_every_colour_of_a_plot_is_one_of_the_page_s_style(tmp_path):
    style = (html.HERE / "page.css").read_text(encoding="utf-8")
    for kind in ("three", "multi", "regression"):
        for name, svg in drawn(finished_run(tmp_path / kind, kind)).items():
            assert not re.search(r"(fill|stroke): #", svg), name
            assert set(re.findall(r"var\((--[^)]+)\)", svg)) <= set(re.findall(r"(--[\w-]+):", style))
    light, dark = (dict(re.findall(r"(--plot-\d): (#\w+)", part)) for part in style.split("@media", 1))
    assert list(light.values()) == list(plots.CYCLE) and light.keys() == dark.keys()


def test_ids_are_unique_over_all_plots(tmp_path):
    ids = [found for svg in drawn(finished_run(tmp_path)).values() for found in re.findall(r' id="([^"]+)"', svg)]
    assert ids and len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["体育 か ⚽", "<b>$5</b> & more", "a class with a name that is far too long"])
def test_a_class_of_any_name_is_text_in_a_legend(tmp_path, name, capsys, recwarn):
    folder = finished_run(tmp_path, "three")
    for path in (folder / "results.json", folder / "predictions" / "validation.tsv"):
        path.write_text(path.read_text(encoding="utf-8").replace("neutral", name), encoding="utf-8")
    svg = drawn(folder)["roc_validation"]
    (text,) = (
        node.text
        for node in ElementTree.fromstring(svg.replace("xlink:href", "href")).iter("text")
        if plots.shorten(name) in (node.text or "")
    )
    assert text.startswith(plots.shorten(name) + ", AUC 0.")
    assert capsys.readouterr().err == "" and not recwarn.list


def test_a_plot_of_many_examples_is_small(tmp_path):
    shown = drawn(finished_run(tmp_path / "c", "binary", rows=6_000, skill=0.2))
    shown |= drawn(finished_run(tmp_path / "r", "regression", rows=6_000))
    assert {name: len(svg) for name, svg in shown.items() if len(svg) > 60_000} == {}


def test_the_same_run_gives_the_same_bytes(tmp_path):
    folder = finished_run(tmp_path, "three")
    render(RunFolder.read(folder))
    page, card = (folder / "report.html").read_text(), (folder / "README.md").read_text()
    render(RunFolder.read(folder))
    assert (folder / "report.html").read_text() == page and (folder / "README.md").read_text() == card
    assert not list(folder.rglob(".*")), "a temporary file was left"


def test_values_that_are_not_numbers_are_left_out(tmp_path):
    folder = finished_run(tmp_path, "binary")
    state = folder / "trainer_state.json"
    log = [{"step": 1, "epoch": 0.5, "loss": float("nan")}, {"step": 2, "epoch": 1.0, "loss": None}]
    state.write_text(json.dumps({"log_history": log}))
    shown = drawn(folder)
    assert "loss" not in shown and "metrics" not in shown and "roc_validation" in shown


def test_running_mean():
    short, window = plots.running_mean([1.0, 2.0])
    assert window == 1 and short == [1.0, 2.0]
    means, window = plots.running_mean([0.0, 3.0] * 10)
    assert window == 3 and means[1] == 1.0 and means[2] == 2.0 and len(means) == 20


def test_the_training_log_averages_the_loss_between_evaluations(tmp_path):
    rows = RunFolder.read(finished_run(tmp_path, "binary")).training_log()
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 40), (2, 80), (3, 120)]
    assert rows[0]["loss"] == pytest.approx(np.mean([2 / (1 + step / 30) for step in range(5, 41, 5)]))
    assert rows[0]["eval_matthews_correlation"] == 0.4 and "eval_accuracy" in rows[0]


def test_a_logged_loss_counts_for_the_steps_it_is_the_mean_of(tmp_path):
    folder = finished_run(tmp_path, "binary")
    log = [{"step": 50, "epoch": 0.9, "loss": 1.0}, {"step": 55, "epoch": 1.0, "loss": 2.1}]
    log.append({"step": 55, "epoch": 1.0, "eval_loss": 0.5})
    log += [{"step": 100, "epoch": 1.8, "loss": 0.2}, {"step": 110, "epoch": 2.0, "eval_loss": 0.4}]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    rows = RunFolder.read(folder).training_log()
    assert [row["loss"] for row in rows] == pytest.approx([(50 * 1.0 + 5 * 2.1) / 55, 0.2])


def test_the_selected_epoch_is_marked(tmp_path):
    folder = finished_run(tmp_path, "binary", best_step=80)
    run = RunFolder.read(folder)
    for figure in (plots.loss(run), plots.metrics(run)):
        (line,) = (line for line in figure.axes[0].lines if line.get_label() == "selected: epoch 2")
        assert list(line.get_xdata()) == [2, 2]
        assert all(tick == int(tick) for tick in figure.axes[0].get_xticks())
    last = RunFolder.read(finished_run(tmp_path / "last", "binary"))
    assert "selected" not in "".join(str(line.get_label()) for line in plots.loss(last).axes[0].lines)


def test_a_single_evaluation_is_drawn_in_a_range_that_can_be_read(tmp_path):
    folder = finished_run(tmp_path, "binary")
    log = [{"step": 4, "epoch": 1.0, "loss": 0.69946}, {"step": 4, "epoch": 1.0, "eval_loss": 0.69948}]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    axes = plots.loss(RunFolder.read(folder)).axes[0]
    axes.figure.canvas.draw()
    assert axes.get_xlim()[0] == 0 and axes.yaxis.get_offset_text().get_text() == ""


def test_a_batch_that_scores_zero_is_seen(tmp_path):
    folder = finished_run(tmp_path, "binary")
    per_batch = {"size": 32, "matthews_correlation": [0.0, 0.5, 0.0], "mean": 0.1667, "sd": 0.2887}
    rewrite(folder / "results.json", lambda r: r["splits"]["validation"].update(per_batch=per_batch))
    axes = plots.per_batch(RunFolder.read(folder), "validation").axes[0]
    assert list(axes.lines[0].get_ydata()) == [0.0, 0.5, 0.0]


def test_bins_of_one_or_two_examples_are_not_among_the_accuracies(tmp_path):
    run = RunFolder.read(finished_run(tmp_path, "binary"))
    rows = run.scored["validation"]["calibration"]["raw"]["reliability"]
    rows[-1]["count"], rows[-2]["count"] = 1, 2
    bins = [row["count"] for row in rows if row["count"]]
    upper, lower = plots.reliability(run, "validation").axes
    assert len(upper.lines[1].get_xdata()) == sum(count >= 3 for count in bins)
    assert len(lower.containers[0]) == len(bins)


def test_without_evaluations_the_training_log_has_a_row_an_epoch(tmp_path):
    folder = finished_run(tmp_path, "binary")
    log = [{"step": step, "epoch": step / 4, "loss": float(step)} for step in range(1, 9)]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    rows = RunFolder.read(folder).training_log()
    assert [(row["step"], row["loss"]) for row in rows] == [(4, 2.5), (8, 6.5)]


@pytest.mark.parametrize("name", ["results.json", "run.json"])
def test_a_folder_that_is_no_finished_run_is_refused(tmp_path, name):
    folder = finished_run(tmp_path, "binary")
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"not a finished run: {name} is missing. A run writes it at its end"):
        RunFolder.read(folder)


def test_a_folder_of_finished_runs_names_one_of_them(tmp_path):
    finished_run(tmp_path / "cola" / "seed1", "binary")
    for folder in (tmp_path, tmp_path / "cola"):
        with pytest.raises(UserError, match=f"name one of them, such as {tmp_path / 'cola' / 'seed1'}."):
            RunFolder.read(folder)


def test_a_missing_folder_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        RunFolder.read(tmp_path / "nothing")
    folder = finished_run(tmp_path / "run", "binary")
    (folder / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        RunFolder.read(folder)
    (folder / "run.json").write_text("{}")
    (folder / "results.json").write_text('{"exact_match": 1}')
    with pytest.raises(UserError, match="not written by this program"):
        RunFolder.read(folder)


def test_the_report_command_renders_every_run_or_none(tmp_path, capsys):
    from bertlab.commands.report import main

    runs = [finished_run(tmp_path / name, "regression") for name in ("a", "b")]
    assert main([str(runs[0]), str(tmp_path / "nothing")]) == 2
    assert not (runs[0] / "report.html").exists()
    assert "no such folder" in capsys.readouterr().err
    assert main([str(run) for run in runs]) == 0
    assert all((run / "report.html").is_file() and (run / "README.md").is_file() for run in runs)
    assert capsys.readouterr().err == ""


def test_a_missing_file_of_misclassified_examples_is_a_warning(tmp_path, capsys):
    folder = finished_run(tmp_path / "run", "three")
    (folder / "misclassified" / "validation.tsv").unlink()
    render(RunFolder.read(folder))
    assert "lacks validation, so the page shows none of these examples." in capsys.readouterr().err
    assert 'id="misclassified"' not in (folder / "report.html").read_text()


def test_a_model_that_predicts_no_number_has_no_plot_of_predictions(tmp_path):
    folder = finished_run(tmp_path, "regression", rows=20)
    path = folder / "predictions" / "validation.tsv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    emptied = ("\t".join([*row.split("\t")[:2], ""]) for row in rows)
    path.write_text("\n".join([header, *emptied]), encoding="utf-8")
    assert set(drawn(folder)) == TRAINED
