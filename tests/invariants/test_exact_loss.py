"""The loss, the gradient and the weights do not depend on gradient accumulation and the number of processes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsdp_on_cpu
import numpy as np
import pytest
import torch
from forking import forked, told_by_accelerate
from running import (
    QUIET,
    classify,
    farthest,
    history,
    on_two_processes,
    predictions,
    read_json,
    results,
    subprocess_of,
    to_argv,
    variant,
    weights_of,
)
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Trainer as HfTrainer

from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, SINGLE, LabelSchema
from bertlab.evaluation import degenerate
from bertlab.training.loss import ExactLoss, is_labelled, loss_for
from bertlab.training.trainer import EncoderTrainer

SETTINGS = {
    "num_train_epochs": 2,
    "learning_rate": 5e-3,
    "logging_steps": 1,
    "eval_strategy": "epoch",
    "per_device_eval_batch_size": 3,  # batches of unequal size
    "save_strategy": "no",
}
LAYOUTS = {"8x2": (8, 2), "4x4": (4, 4)}


@pytest.fixture(scope="module")
def whole(still_model: Path, sentences: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run that sees 16 rows at once: 70 rows, 5 steps an epoch, the last of 6 rows."""
    return _run(tmp_path_factory.mktemp("whole") / "run", still_model, sentences, 16, 1)


def _run(folder: Path, model: Path, files: dict[str, Path], batch: int, accumulation: int) -> Path:
    layout = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    assert classify(folder, model_name_or_path=model, **files, **SETTINGS, **layout) == 0
    return folder


def _assert_same_run(one: Path, other: Path) -> None:
    assert history(one, "loss") == pytest.approx(history(other, "loss"), abs=1e-5)
    assert history(one, "loss")[0] == pytest.approx(history(other, "loss")[0], abs=1e-6)
    assert history(one, "grad_norm") == pytest.approx(history(other, "grad_norm"), abs=1e-5)
    assert history(one, "eval_loss") == pytest.approx(history(other, "eval_loss"), abs=1e-6)
    assert history(one, "eval_loss")[-1] == pytest.approx(results(one)["eval_loss"], abs=1e-6)
    assert farthest(one, other) < 1e-5
    assert results(one)["eval_loss"] == pytest.approx(results(other)["eval_loss"], abs=1e-6)
    for split, rows in (("validation", 30), ("test", 21)):
        ours, theirs = predictions(one, split), predictions(other, split)
        assert len(ours) == len(theirs) == rows
        for mine, its in zip(ours, theirs, strict=True):
            assert [mine[name] for name in ("idx", "label")] == [its[name] for name in ("idx", "label")]
            assert float(mine["probability_good"]) == pytest.approx(float(its["probability_good"]), abs=1e-5)


def test_the_runs_compared_here_do_learn(whole: Path, still_model: Path):
    before, after = weights_of(still_model), weights_of(whole)
    moved = {name.removeprefix("bert."): value for name, value in after.items() if name.startswith("bert.")}
    assert max(float((moved[name] - before[name]).abs().max()) for name in before) > 1e-2
    assert len(history(whole, "loss")) == 10
    assert max(history(whole, "loss")) - min(history(whole, "loss")) > 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_accumulation_gives_the_same_run_as_one_batch(layout: str, whole, still_model, sentences, tmp_path: Path):
    _assert_same_run(_run(tmp_path / "run", still_model, sentences, *LAYOUTS[layout]), whole)


@pytest.mark.launch
def test_two_processes_give_the_same_run_as_one(whole, still_model, sentences, tmp_path: Path):
    settings = {
        **QUIET,
        **SETTINGS,
        **sentences,
        "model_name_or_path": still_model,
        "output_dir": tmp_path / "run",
        "global_batch_size": 16,
    }
    del settings["use_cpu"]  # the accelerate file says so
    # Neither metrics nor data need the home of the caches: here it is under a file, where not even root can make it.
    (tmp_path / "file").touch()
    home = str(tmp_path / "file" / "home")
    done = subprocess_of(on_two_processes("run_classification.py", *to_argv(settings)), HF_HOME=home)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [word for word in ("unused parameters", "of 2 processes", "no GPU is found") if word in done.stderr] == []
    assert done.stdout.count("global batch 16") == 1, "only one process speaks"
    assert read_json(tmp_path / "run" / "run.json")["plan"]["world_size"] == 2
    _assert_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_two_fsdp_shards_give_the_same_run_and_a_checkpoint_that_loads_on_one(
    whole, still_model, sentences, tmp_path: Path
):
    folder = tmp_path / "run"
    settings = {**QUIET, **SETTINGS, **sentences, "model_name_or_path": still_model, "output_dir": folder}
    settings |= {"per_device_train_batch_size": 8, "save_strategy": "epoch"}
    told = told_by_accelerate("fsdp.yaml", "--num_processes", "2")
    assert "every parameter is a shard" in forked(fsdp_on_cpu.main, to_argv(settings), tmp_path, [told, told])
    _assert_same_run(folder, whole)
    one = {"test_file": sentences["test_file"], "do_predict": True}
    assert classify(tmp_path / "one", model_name_or_path=folder / "checkpoint-10", **one) == 0
    probabilities = [
        [float(row["probability_good"]) for row in predictions(run, "test")] for run in (tmp_path / "one", whole)
    ]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)


def test_fsdp_on_cpus_is_refused(still_model, sentences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """accelerate would train a whole copy in every process and say nothing."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    train = sentences["train_file"]
    assert classify(tmp_path / "run", model_name_or_path=still_model, train_file=train, max_steps=1) == 2
    assert "the launcher asks for FSDP" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_loss_of_transformers_itself_would_not_pass_here(
    whole, still_model, sentences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """BERT's own mean over each micro-batch, summed: what makes these tests worth having."""

    def naive(self, outputs, labels, num_items_in_batch=None):
        return functional.cross_entropy(outputs.logits, labels)

    monkeypatch.setattr(ExactLoss, "__call__", naive)
    folder = _run(tmp_path / "run", still_model, sentences, 4, 4)
    assert history(folder, "loss")[0] == pytest.approx(4 * history(whole, "loss")[0], rel=1e-4)


def _outputs(logits: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(logits=logits)


def _logits(rows: int, outputs: int) -> torch.Tensor:
    return torch.randn(rows, outputs, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


def _ids(rows: int, classes: int) -> torch.Tensor:
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(1))


def _cases() -> dict[str, tuple[ExactLoss, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return, by name, a loss, logits, labels, and what torch's own mean says of them."""
    single, multi, number = _logits(12, 3), _logits(12, 4), _logits(12, 1)
    ids, several, scores = _ids(12, 3), _ids(48, 2).reshape(12, 4).float(), torch.linspace(-101, 5, 12)
    scores[3] = NO_LABEL  # in regression -100 is a number like any other
    return {
        SINGLE: (ExactLoss(SINGLE), single, ids, functional.cross_entropy(single, ids)),
        MULTI: (ExactLoss(MULTI), multi, several, functional.binary_cross_entropy_with_logits(multi, several)),
        REGRESSION: (ExactLoss(REGRESSION), number, scores, functional.mse_loss(number[:, 0], scores)),
        "label smoothing": (
            ExactLoss(SINGLE, label_smoothing=0.2),
            single,
            ids,
            functional.cross_entropy(single, ids, label_smoothing=0.2),
        ),
    }


@pytest.mark.parametrize("case", [SINGLE, MULTI, REGRESSION, "label smoothing"])
def test_the_loss_of_a_whole_batch_is_torch_s_mean(case: str):
    loss, logits, labels, expected = _cases()[case]
    torch.testing.assert_close(loss(_outputs(logits), labels), expected)


@pytest.mark.parametrize("case", [SINGLE, MULTI, REGRESSION, "label smoothing"])
@pytest.mark.parametrize("sizes", [(6, 6), (3, 3, 3, 3), (5, 5, 2), (11, 1)])
def test_the_losses_of_the_parts_add_up_to_that_of_the_whole(case: str, sizes: tuple[int, ...]):
    loss, logits, labels, expected = _cases()[case]
    items = labels.numel()
    parts = [
        loss(_outputs(part), label, items) for part, label in zip(logits.split(sizes), labels.split(sizes), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), expected)
    means = [loss(_outputs(part), label) for part, label in zip(logits.split(sizes), labels.split(sizes), strict=True)]
    assert float(sum(means)) != pytest.approx(float(expected), rel=0.05), "means of parts would not add up"


@pytest.mark.parametrize("case", [SINGLE, MULTI, REGRESSION, "label smoothing"])
def test_a_row_without_label_counts_neither_above_nor_below_the_line(case: str):
    loss, logits, labels, _ = _cases()[case]
    missing = labels.clone()
    missing[8:] = NO_LABEL if case in (SINGLE, "label smoothing") else torch.nan
    torch.testing.assert_close(loss(_outputs(logits), missing), loss(_outputs(logits[:8]), labels[:8]))


def _weights(kind: str, labels: torch.Tensor, chosen: Any, classes: int) -> torch.Tensor:
    schema = LabelSchema(kind, tuple("abc"[:classes]), {})
    args: Any = SimpleNamespace(label_smoothing_factor=0.0, device=torch.device("cpu"))
    weights = loss_for(schema, {"labels": labels.numpy()}, chosen, args).class_weights
    assert weights is not None
    return weights


def test_balanced_weights_are_inverse_frequencies_with_mean_1_over_the_rows():
    labels = torch.tensor([0] * 9 + [1] * 3)
    weights = _weights(SINGLE, labels, "balanced", 2)
    balanced = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels.numpy())
    torch.testing.assert_close(weights, torch.tensor(balanced, dtype=torch.float32))
    torch.testing.assert_close(weights[labels].mean(), torch.tensor(1.0))
    of_three = _weights(SINGLE, labels, "balanced", 3)  # one of them has no row
    torch.testing.assert_close(of_three[:2], weights)


def test_named_weights_keep_their_ratios_and_have_mean_1_over_the_rows():
    labels = torch.tensor([0] * 9 + [1] * 3 + [2] * 4)
    weights = _weights(SINGLE, labels, {"b": 5.0, "c": 0.5}, 3)
    torch.testing.assert_close(weights / weights[0], torch.tensor([1.0, 5.0, 0.5]))
    torch.testing.assert_close(weights[labels].mean(), torch.tensor(1.0))


def test_balanced_weights_of_several_labels_give_both_sides_of_each_the_same_weight():
    labels = torch.tensor([[1.0, 0.0, 1.0]] * 2 + [[0.0, 0.0, 1.0]] * 6)
    weights = _weights(MULTI, labels, "balanced", 3)
    torch.testing.assert_close(weights, torch.tensor([6 / 2, 8.0, 1 / 8]))  # of the last two as if one row differed
    logits = _logits(8, 3)
    terms = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    expected = torch.where(labels == 1, terms * weights, terms).mean()
    loss = ExactLoss(MULTI, weights)
    torch.testing.assert_close(loss(_outputs(logits), labels), expected)
    torch.testing.assert_close(torch.tensor(loss.of_rows(logits.numpy(), labels.numpy())), expected)
    torch.testing.assert_close(_weights(MULTI, labels, {"b": 4.0}, 3), torch.tensor([1.0, 4.0, 1.0]))


def test_class_weights_weigh_each_row_by_its_class():
    logits, labels = _logits(12, 3), _ids(12, 3)
    weights = torch.tensor([0.5, 1.0, 4.0])
    rows = functional.cross_entropy(logits, labels, reduction="none")
    expected = (weights[labels] * rows).mean()
    torch.testing.assert_close(ExactLoss(SINGLE, weights)(_outputs(logits), labels), expected)
    assert ExactLoss(SINGLE)(_outputs(logits), labels) != pytest.approx(float(expected), abs=1e-3)


def test_sixteen_bit_logits_are_summed_in_float32():
    logits = _logits(12, 3).to(torch.bfloat16)
    assert ExactLoss(SINGLE)(_outputs(logits), _ids(12, 3)).dtype == torch.float32


def test_a_16_bit_checkpoint_is_trained_in_32_bits(still_model, sentences, tmp_path: Path):
    from safetensors.torch import save_file

    half = variant(still_model, tmp_path / "half", dtype="bfloat16")
    save_file({k: v.to(torch.bfloat16) for k, v in weights_of(still_model).items()}, half / "model.safetensors")
    folder = tmp_path / "run"
    assert classify(folder, model_name_or_path=half, train_file=sentences["train_file"], max_steps=1) == 0
    assert {value.dtype for value in weights_of(folder).values()} == {torch.float32}


class _StandIn(EncoderTrainer):
    """A trainer of which only the numbers are there."""

    def __init__(self, rows: range, **args: object) -> None:
        self.train_dataset = rows
        self.args = SimpleNamespace(**args)


def _at_the_end_of(rows: range, *, process: int = 0, ends: bool = True, **args: object) -> EncoderTrainer:
    """Return the trainer of one of two processes with batches of 8; for accelerate the remainder is 0."""
    settings = {"dataloader_drop_last": False, "train_sampling_strategy": "group_by_length", **args}
    trainer = _StandIn(rows, world_size=2, process_index=process, train_batch_size=8, **settings)
    trainer.accelerator = SimpleNamespace(gradient_state=SimpleNamespace(end_of_dataloader=ends, remainder=0))
    return trainer


LABELS = {SINGLE: torch.zeros(8, dtype=torch.int64), REGRESSION: torch.zeros(8), MULTI: torch.zeros(8, 3)}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    ("process", "rows", "at_the_end", "counted"),
    [(0, 25, True, 8), (1, 25, True, 1), (0, 22, True, 6), (1, 22, True, 0), (1, 32, True, 8), (1, 22, False, 8)],
)
def test_rows_that_accelerate_repeats_to_fill_a_last_batch_do_not_count(
    labels: torch.Tensor, process: int, rows: int, at_the_end: bool, counted: int
):
    trainer = _at_the_end_of(range(rows), process=process, ends=at_the_end)
    batch = {"input_ids": torch.ones(8, 5), "labels": labels}
    own = trainer._without_repeats(batch)
    assert is_labelled(own["labels"]).flatten().sum() == counted * labels[0].numel()
    assert is_labelled(own["labels"][:counted]).all()
    assert own["input_ids"].shape == (8, 5)
    assert is_labelled(labels).all(), "the batch itself is left as it was"


@pytest.mark.parametrize("setting", [{"dataloader_drop_last": True}, {"train_sampling_strategy": "batch_rebalance"}])
def test_nothing_repeats_where_the_last_batch_is_left_out_or_dealt_out_whole(setting: dict):
    trainer = _at_the_end_of(range(22), **setting)
    assert is_labelled(trainer._without_repeats({"labels": LABELS[SINGLE]})["labels"]).all()


@pytest.mark.parametrize(("balanced", "smoothing"), [(False, 0.0), (False, 0.1), (True, 0.1)])
def test_the_loss_of_the_best_constant_is_what_failed_runs_are_measured_by(balanced, smoothing):
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = _weights(SINGLE, labels, "balanced", 3) if balanced else None
    loss = ExactLoss("single_label_classification", weights, smoothing)
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(SimpleNamespace(logits=logits.expand(10, 3)), labels)
        value.backward()
        return value

    optimizer.step(closure)
    configuration = {"label_smoothing_factor": smoothing, "class_weights": "balanced" if balanced else "none"}
    train = {"labelled": 10, "balance": {"a": 6, "b": 3, "c": 1}}
    run = {"configuration": configuration, "data": {"train": train}}
    best = closure().detach().item()
    assert degenerate.constant_loss(run, "single_label_classification") == pytest.approx(best, abs=1e-5)


def test_an_epoch_resumed_in_its_middle_has_the_remainder_of_all_processes():
    """accelerate reports that of one process then, 0 here: 70 rows in batches of 2 × 8 leave 6."""
    taken: list[dict[str, torch.Tensor]] = []
    trainer = _at_the_end_of(range(70))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HfTrainer, "get_batch_samples", lambda self, batches, *_: taken.extend(batches))
        trainer.get_batch_samples(iter([{"labels": torch.zeros(8, dtype=torch.int64)}]), 1, torch.device("cpu"))
    assert is_labelled(taken[0]["labels"]).tolist() == [True] * 6 + [False] * 2


class _NoSynchronisation(TorchDispatchMode):
    """Refuses what a GPU would have to answer before the next operation can be asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in ("nonzero", "index", "masked_select", "_local_scalar_dense"), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
def test_the_loss_asks_a_gpu_for_nothing_and_counts_labelled_rows_alone(kind: str):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(8, {SINGLE: 3, MULTI: 4, REGRESSION: 1}[kind], generator=generator, requires_grad=True)
    labels = {SINGLE: torch.tensor([0, 1, -100, 2, 0, 1, -100, 2])}.get(kind)
    if labels is None:
        labels = torch.rand(8, 4, generator=generator).round() if kind == MULTI else torch.rand(8, generator=generator)
        labels[[2, 6]] = torch.nan
    with _NoSynchronisation():
        loss = ExactLoss(kind)(_outputs(logits), labels, torch.tensor(6))
        loss.backward()
    kept = torch.tensor([0, 1, 3, 4, 5, 7])
    expected = ExactLoss(kind)(_outputs(logits[kept]), labels[kept], torch.tensor(6))
    torch.testing.assert_close(loss, expected)
    assert not logits.grad[[2, 6]].any()
    assert logits.grad[kept].any(dim=1).all()
