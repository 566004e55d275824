"""The benchmark that compares our scores with a plain Trainer's: it runs, continues, and says what its figures mean."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from running import drawing, labelled_sentences, read_json

from benchmarks import fidelity
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.data import dataset, tokenization
from bertlab.models import loading
from bertlab.training import loss, sampling
from tools import benchmark_tables

BENCHMARKS = fidelity.measure.RESULTS
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a few sentences of our own in the three layouts of GLUE."""
    folder = tmp_path_factory.mktemp("downloads")
    for task, header, line in (
        ("CoLA", "", "ab12\t{label}\t\t{text}\n"),
        ("MRPC", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", '{label}\t1\t2\t"{text}\ta "dog\n'),
        ("RTE", "index\tsentence1\tsentence2\tlabel\n", "0\t{text}\tNA\t{name}\n"),
    ):
        (folder / "glue" / task).mkdir(parents=True)
        for split, rows in (("train", 128), ("dev", 40)):
            names = fidelity.TASKS["rte"].classes
            lines = [
                line.format(label=names.index(name), name=name, text=text)
                for text, name in labelled_sentences(rows, seed=rows, names=names)
            ]
            (folder / "glue" / task / f"{split}.tsv").write_text(header + "".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def measure(
    downloads: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that calls the benchmark with a tiny model and returns the runs in its file."""
    monkeypatch.setattr(fidelity, "MAX_LENGTH", 64)
    monkeypatch.setattr(fidelity, "PARTS", 2)

    def call(*flags: str) -> list[dict[str, Any]]:
        places = ["--data", str(downloads), "--model", str(tiny_model), "--results", str(tmp_path)]
        with drawing(False):
            assert fidelity.main([*places, *flags]) == 0
        return fidelity.read(tmp_path / fidelity.RUNS)

    return call


@pytest.mark.slow
def test_a_measurement_takes_turns_continues_and_is_summed_up(measure, tmp_path: Path):
    one = measure("--seeds", "1")
    two = measure("--seeds", "2")
    assert two[:2] == one  # what stands in the file is not made again
    assert [(run["arm"], run["seed"]) for run in two] == [("reference", 1), ("ours", 1), ("reference", 2), ("ours", 2)]
    for run in two:
        assert len(run["curve"]) == len(run["training_loss"]) == 3 * fidelity.PARTS
        assert 0 < run["padding"] < 0.9
        assert run["processor_seconds"] > 0
    assert two[0]["padding"] > two[1]["padding"]
    (table,) = read_json(tmp_path / fidelity.SUMMARY)["tables"].values()
    assert [row[:2] for row in table["rows"]] == [["reference", "2"], ["ours", "2"]]
    assert "| reference | 2 |" in benchmark_tables.markdown("fidelity", tmp_path)


def test_an_arm_changes_one_thing():
    rows = sampling.LengthGroupedOrder(np.arange(100) % 7, 5, seed=1)
    grouped = list(rows)
    with fidelity.ARMS["megabatch-4"].during():
        assert list(rows) != grouped
    assert list(rows) == grouped
    outputs, labels = (
        SimpleNamespace(logits=torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])),
        torch.tensor([0, 0, 1]),
    )
    exact = loss.ExactLoss("single_label_classification")
    with fidelity.ARMS["model-loss"].during():
        model_loss = exact(outputs, labels, torch.tensor(6))
    assert float(model_loss) == pytest.approx(2 * float(exact(outputs, labels, torch.tensor(6))))


@pytest.mark.parametrize("name", fidelity.TASKS)
def test_both_sides_read_the_same_rows(name: str, downloads: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fidelity, "MAX_LENGTH", 64)
    task = fidelity.TASKS[name]
    theirs = fidelity.tokenized(task, downloads / "glue" / task.folder / "train.tsv", str(tiny_model))
    flags = ["--task", name, "--data_dir", str(downloads / "glue" / task.folder)]
    flags += ["--model_name_or_path", str(tiny_model), "--max_seq_length", "64", "--output_dir", "unused"]
    data_args, model_args, *_ = parser.parse(flags, (DataArguments, ModelArguments, RunArguments), "").unpack()
    loaded = dataset.load_splits(data_args, [], training=True, cache_dir=None, token=None)
    mine = tokenization.tokenize_splits(loaded, loading.load_tokenizer(model_args), data_args)["train"]
    assert theirs["label"][:] == mine["labels"][:]
    assert theirs["input_ids"][:] == mine["input_ids"][:]


def test_a_plateau_is_left_for_good():
    assert fidelity.plateau_left([(0.5, 0.0), (1.0, 0.2), (1.5, 0.0), (2.0, 0.1), (2.5, 0.3)]) == 2.0
    assert fidelity.plateau_left([(0.5, 0.3), (1.0, 0.0)]) is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.9, 0.8, "within ±1 point"),
        (0.2, 0.9, "within ±1 point"),
        (0.2, 1.5, "better"),
        (-3, -0.5, "worse"),
        (-1.5, 0.5, "not decided yet"),
    ],
)
def test_what_an_interval_says(low: float, high: float, said: str):
    assert fidelity.relation(low, high) == said


def runs_of(points: dict[int, float], loss: float = 0.5) -> dict[int, dict[str, Any]]:
    """Return runs by seed that end with these scores, in points, and logged this loss."""
    return {
        seed: {"score": score / 100, "scores": {"accuracy": score / 100}, "training_loss": [(0.25, loss)]}
        for seed, score in points.items()
    }


def test_two_arms_are_compared_seed_by_seed():
    ours = runs_of({1: 26.0, 2: 21.0, 4: 30.0, 5: 99.0})
    mean, interval, said = fidelity._compared(ours, runs_of({4: 28.0, 2: 20.0, 1: 23.0}))
    half = 4.303 * 1.0 / np.sqrt(3)  # differences of 3, 1 and 2 points; t of 2 degrees of freedom
    assert (mean, interval) == ("+2.0", f"{2 - half:+.1f} to {2 + half:+.1f}")
    assert said == "not decided yet: it takes about 7 seeds"
    assert fidelity._compared(runs_of({1: 26.0}), runs_of({1: 25.0})) == ("+1.0", "-", "-")
    assert fidelity._compared(runs_of({1: 26.0}), runs_of({2: 25.0})) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("score", "loss", "same"), [(21.0, 0.5 + 1e-7, True), (21.0, 0.501, False), (21.1, 0.5, False)]
)
def test_runs_are_the_same_if_losses_and_scores_are(score: float, loss: float, same: bool):
    runs, reference = runs_of({1: 26.0, 2: score}, loss), runs_of({1: 26.0, 2: 21.0})
    assert (fidelity._compared(runs, reference)[2] == fidelity.SAME) is same


def test_tasks_are_averaged_seed_by_seed():
    scores = {("cola", "reference"): (0.70, 0.71), ("cola", "ours"): (0.75, 0.71, 0.99)}
    scores |= {("rte", "reference"): (0.50, 0.56, 0.1), ("rte", "ours"): (0.49, 0.54)}
    records = [
        {"task": task, "arm": arm, "seed": seed, "model": "tiny", "learning_rate": 1e-4, "scores": {"accuracy": score}}
        for (task, arm), found in scores.items()
        for seed, score in enumerate(found, start=1)
    ]
    records.append({**records[0], "learning_rate": 2e-5})  # another learning rate, on one task only
    ((title, table),) = fidelity._average_tables(records).items()
    assert title == "Average of cola, rte, tiny at 0.0001: accuracy in points"
    # Differences of 2 and -1 points; 12.706 is t of 1 degree of freedom, and their standard error 1.5.
    assert [row[:4] for row in table["rows"]] == [("ours", "2", "+0.5", "-18.6 to +19.6")]


def test_readme_claims_what_the_average_over_tasks_says():
    tables = read_json(BENCHMARKS / fidelity.SUMMARY)["tables"]
    ((title, average),) = [(title, table) for title, table in tables.items() if title.startswith("Average")]
    assert title.startswith("Average of cola, mrpc, rte,")
    assert [(row[0], row[-1]) for row in average["rows"]] == [("ours", "within ±1 point")]
    assert "Accuracy over three GLUE tasks is within one point of a plain" in README.read_text(encoding="utf-8")


@pytest.mark.slow
def test_in_random_order_and_float32_our_script_is_the_reference(measure):
    theirs, mine = {}, {}
    for run in measure("--seeds", "1", "--tasks", *fidelity.TASKS, "--arms", "reference", "random-order-float32"):
        (theirs if run["arm"] == fidelity.REFERENCE else mine)[run["task"]] = run
    assert set(theirs) == set(mine) == set(fidelity.TASKS)
    for task, run in mine.items():
        expected = [(epoch, pytest.approx(value, rel=1e-6)) for epoch, value in theirs[task]["training_loss"]]
        assert [tuple(entry) for entry in run["training_loss"]] == expected
        assert run["curve"] == theirs[task]["curve"]
        assert run["scores"] == theirs[task]["scores"]
        assert run["padding"] == theirs[task]["padding"]
