"""Plots of runs of every kind: which there are, and that something is on them."""

import io
import json

import numpy as np
import pytest
from finished_runs import finished_run
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image

from bertlab.errors import UserError
from bertlab.report import plots
from bertlab.report.render import render
from bertlab.report.run_folder import RunFolder

pytestmark = pytest.mark.slow

TRAINED = {"loss.png", "metrics.png", "token_lengths.png"}
CLASSES = {"label_balance.png", "reliability_validation.png"}
ONE_CLASS = {"confusion_validation.png", "per_batch_validation.png"}


def pixels(image):
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("binary", {}, TRAINED | CLASSES | ONE_CLASS),
        ("three", {}, TRAINED | CLASSES | ONE_CLASS),
        ("multi", {}, TRAINED | CLASSES),
        ("regression", {}, TRAINED | {"predicted_validation.png"}),
        ("binary", {"labelled": False}, TRAINED),
        ("binary", {"trained": False}, {"token_lengths.png"} | CLASSES | ONE_CLASS),
    ],
)
def test_a_run_has_the_plots_that_its_data_allows(tmp_path, kind, settings, expected):
    images = plots.render_plots(RunFolder.read(finished_run(tmp_path, kind, **settings)))
    assert set(images) == expected
    for name, image in images.items():
        shown = pixels(image)
        height, width, _ = shown.shape
        assert 450 <= width <= 2500 and 300 <= height <= 2500, name
        # Ink reaches neither edge (nothing is cut off), and there is a fair amount of it.
        assert (shown[[0, -1]] == 255).all() and (shown[:, [0, -1]] == 255).all(), name
        assert 0.005 < (shown.min(axis=2) < 200).mean() < 0.9, name


def test_the_same_run_gives_the_same_bytes(tmp_path):
    folder = finished_run(tmp_path, "three")
    render(RunFolder.read(folder))
    first = {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}
    page, card = (folder / "report.html").read_text(), (folder / "README.md").read_text()
    render(RunFolder.read(folder))
    assert {path.name: path.read_bytes() for path in (folder / "plots").iterdir()} == first
    assert (folder / "report.html").read_text() == page and (folder / "README.md").read_text() == card
    assert not list(folder.rglob(".*")), "a temporary file was left"


@pytest.mark.parametrize("classes", [2, 12, 20, 40])
def test_a_confusion_matrix_grows_with_its_classes(tmp_path, classes):
    folder = finished_run(tmp_path, "three")

    def more_classes(results):
        results["class_names"] = [f"a class with a long name {k}" for k in range(classes)]
        results["splits"]["validation"]["confusion"] = [[k + j for j in range(classes)] for k in range(classes)]

    rewrite(folder / "results.json", more_classes)
    figure = plots.confusion(RunFolder.read(folder), "validation")
    (axes, _) = figure.axes
    assert len(axes.texts) == (classes**2 if classes <= plots.NUMBERED_CLASSES else 0)
    assert [label.get_text() for label in axes.get_xticklabels()][:1] == ["a class with a long…"]
    size = figure.get_size_inches()
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else None
    cells = [text.get_window_extent(renderer) for text in axes.texts[:2]]
    assert size.max() <= 17 and all(cell.width > 0 for cell in cells)
    if len(cells) == 2:
        figure.draw_without_rendering()
        first, second = (text.get_window_extent() for text in axes.texts[:2])
        assert first.x1 <= second.x0, "numbers of neighbouring cells overlap"


def test_a_class_that_never_occurs_has_no_percentage(tmp_path):
    folder = finished_run(tmp_path, "binary")
    rewrite(folder / "results.json", lambda r: r["splits"]["validation"].update(confusion=[[0, 0], [3, 4]]))
    figure = plots.confusion(RunFolder.read(folder), "validation")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0\n–", "0\n–", "3\n43%", "4\n57%"]


def test_values_that_are_not_numbers_are_left_out(tmp_path):
    folder = finished_run(tmp_path, "binary")
    state = folder / "trainer_state.json"
    log = [{"step": 1, "epoch": 0.5, "loss": float("nan")}, {"step": 2, "epoch": 1.0, "loss": None}]
    state.write_text(json.dumps({"log_history": log}))
    images = plots.render_plots(RunFolder.read(folder))
    assert "loss.png" not in images and "metrics.png" not in images and "confusion_validation.png" in images


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


@pytest.mark.parametrize("kind", ["binary", "multi"])
def test_the_legends_of_the_scores_cover_no_line(tmp_path, kind):
    figure = plots.metrics(RunFolder.read(finished_run(tmp_path, kind)))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1
    assert not axes.texts
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_the_numbers_of_the_matrix_can_be_read_on_every_shade(tmp_path):
    folder = finished_run(tmp_path, "binary")
    for share in range(0, 101, 4):
        matrix = [[share, 100 - share], [1, 1]]
        rewrite(folder / "results.json", lambda r, m=matrix: r["splits"]["validation"].update(confusion=m))
        axes = plots.confusion(RunFolder.read(folder), "validation").axes[0]
        back, ink = luminance(colormaps["Blues"](share / 100)), luminance(axes.texts[0].get_color())
        assert (max(back, ink) + 0.05) / (min(back, ink) + 0.05) > 3.7, share


def luminance(colour):
    """Return the relative luminance of a colour (WCAG 2)."""
    channels = np.asarray(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_a_batch_that_scores_zero_is_seen(tmp_path):
    folder = finished_run(tmp_path, "binary")
    per_batch = {"size": 32, "matthews_correlation": [0.0, 0.5, 0.0], "mean": 0.1667, "sd": 0.2887}
    rewrite(folder / "results.json", lambda r: r["splits"]["validation"].update(per_batch=per_batch))
    axes = plots.per_batch(RunFolder.read(folder), "validation").axes[0]
    assert list(axes.lines[0].get_ydata()) == [0.0, 0.5, 0.0] and axes.get_xlim() == (0.4, 3.6)


def test_a_point_of_few_examples_is_a_small_point(tmp_path):
    folder = finished_run(tmp_path, "binary", rows=300)
    curve = RunFolder.read(folder).scored["validation"]["calibration"]["raw"]["reliability"]
    counts = [row["count"] for row in curve if row["count"]]
    points = plots.reliability(RunFolder.read(folder), "validation").axes[0].collections[0]
    assert np.argsort(points.get_sizes(), kind="stable").tolist() == np.argsort(counts, kind="stable").tolist()


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
    with pytest.raises(UserError, match=f"not a finished run: {name} is missing"):
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
    assert all((run / "report.html").is_file() and (run / "plots" / "loss.png").is_file() for run in runs)
    assert capsys.readouterr().err == ""


def test_a_missing_file_of_misclassified_examples_is_a_warning(tmp_path, capsys):
    folder = finished_run(tmp_path / "run", "three")
    (folder / "misclassified" / "validation.tsv").unlink()
    render(RunFolder.read(folder))
    assert "lacks validation, so the page shows none of these examples." in capsys.readouterr().err
    assert 'id="misclassified"' not in (folder / "report.html").read_text()
