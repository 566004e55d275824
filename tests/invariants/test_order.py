"""The order of training rows is a function of seed and epoch; the order of predictions is that of the input."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from running import classify, predictions, write_lines
from transformers import Trainer

from bertlab.data.batching import MOST_ROWS
from bertlab.training import precision
from bertlab.training.sampling import LengthGroupedOrder, consecutive_batches, max_tokens_batches, padding_share
from bertlab.training.trainer import EncoderTrainer


def _lengths(rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(3, 64, rows)


def _order(lengths: np.ndarray, global_batch: int, seed: int, epoch: int) -> list[int]:
    order = LengthGroupedOrder(lengths, global_batch, seed)
    order.set_epoch(epoch)
    return list(order)


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("global_batch", [1, 16, 64])
def test_every_row_comes_once_an_epoch(rows: int, global_batch: int):
    order = LengthGroupedOrder(_lengths(rows), global_batch, seed=3)
    assert len(order) == rows
    assert sorted(order) == list(range(rows))


def test_the_order_follows_seed_and_epoch_and_nothing_else():
    lengths = _lengths(200)
    first = _order(lengths, 16, seed=1, epoch=0)
    np.random.default_rng().random(7)
    assert _order(lengths, 16, seed=1, epoch=0) == first
    assert _order(lengths, 16, seed=1, epoch=1) != first
    assert _order(lengths, 16, seed=2, epoch=0) != first


def test_an_epoch_can_be_asked_for_without_those_before_it():
    order = LengthGroupedOrder(_lengths(200), 16, seed=1)
    list(order)
    order.set_epoch(4)
    assert list(order) == _order(_lengths(200), 16, seed=1, epoch=4)


def test_batches_do_not_go_from_long_to_short():
    lengths = _lengths(1600)
    order = np.asarray(_order(lengths, 16, seed=1, epoch=0))
    widths = lengths[order].reshape(-1, 16).max(axis=1)
    assert abs(np.corrcoef(np.arange(len(widths)), widths)[0, 1]) < 0.5


@pytest.mark.parametrize("batch", [16, 4])
def test_grouped_rows_carry_less_padding_than_shuffled_ones(batch: int):
    lengths = _lengths(1000)
    grouped = padding_share(lengths, np.asarray(_order(lengths, 16, seed=1, epoch=0)), batch)
    shuffled = padding_share(lengths, np.random.default_rng(0).permutation(1000), batch)
    whole = padding_share(lengths, np.arange(1000), batch, pad_to=64)
    assert grouped < 0.1 < shuffled < whole


def test_the_plan_says_how_much_of_the_tokens_is_padding(still_model, sentences, tmp_path: Path, capsys):
    shares = {}
    for strategy in ("group_by_length", "random"):
        settings = {"train_sampling_strategy": strategy, "max_steps": 1, "per_device_train_batch_size": 8}
        train = sentences["train_file"]
        assert classify(tmp_path / strategy, model_name_or_path=still_model, train_file=train, **settings) == 0
        shares[strategy] = float(capsys.readouterr().out.split("padding ")[1].split("%")[0])
    assert shares["group_by_length"] < shares["random"]


@pytest.fixture(scope="module")
def trained(sharp_model: Path, sentences: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose test predictions were made in batches of 64."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert classify(folder, model_name_or_path=sharp_model, max_steps=2, **sentences) == 0
    return folder


def _probabilities(folder: Path, split: str = "test") -> list[float]:
    return [float(row["probability_good"]) for row in predictions(folder, split)]


@pytest.mark.parametrize("setting", [{"per_device_eval_batch_size": size} for size in (1, 4, 7)], ids=str)
def test_predictions_do_not_depend_on_the_batch(setting: dict, trained: Path, sentences, tmp_path: Path):
    test = sentences["test_file"]
    assert classify(tmp_path / "run", model_name_or_path=trained, test_file=test, do_predict=True, **setting) == 0
    assert [row["idx"] for row in predictions(tmp_path / "run", "test")] == [str(index) for index in range(21)]
    np.testing.assert_allclose(_probabilities(tmp_path / "run"), _probabilities(trained), atol=1e-5)


def test_predictions_come_in_the_order_of_the_input(trained: Path, sentences, tmp_path: Path):
    """Rows in reverse get the reversed predictions: no row takes another one's."""
    from bertlab.data import data_file, readers

    rows = [row.values for row in readers.read_rows(data_file.DataFile(sentences["test_file"]))]
    turned = write_lines(tmp_path / "turned.jsonl", rows[::-1])
    assert classify(tmp_path / "run", model_name_or_path=trained, test_file=turned, do_predict=True) == 0
    np.testing.assert_allclose(_probabilities(tmp_path / "run"), _probabilities(trained)[::-1], atol=1e-5)
    assert np.ptp(_probabilities(trained)) > 1e-3, "the model tells rows apart, or this proves nothing"


def test_padding_to_the_maximum_changes_no_score(trained: Path, sentences, tmp_path: Path):
    settings = {"model_name_or_path": trained, "test_file": sentences["test_file"], "do_predict": True}
    assert classify(tmp_path / "run", pad_to_max_length=True, **settings) == 0
    np.testing.assert_allclose(_probabilities(tmp_path / "run"), _probabilities(trained), atol=1e-4)


@pytest.mark.parametrize("fixed", [True, False])
def test_what_training_leaves_out_or_mixes_up_evaluation_does_not(
    fixed: bool, trained: Path, sentences, tmp_path: Path
):
    """21 rows in batches of 8: the last is not full, and workers may hand in theirs in any order."""
    settings = {"model_name_or_path": trained, "test_file": sentences["test_file"], "pad_to_max_length": fixed}
    settings |= {"dataloader_drop_last": True, "dataloader_in_order": False, "dataloader_num_workers": 2}
    assert classify(tmp_path / "run", do_predict=True, per_device_eval_batch_size=8, **settings) == 0
    np.testing.assert_allclose(_probabilities(tmp_path / "run"), _probabilities(trained), atol=1e-4)


@pytest.mark.parametrize("budget", [1, 50, 64, 10_000])
def test_a_batch_stays_within_its_budget_or_holds_one_row(budget: int):
    lengths = _lengths(200)
    batches = list(consecutive_batches(lengths, budget))
    assert [row for batch in batches for row in batch] == list(range(200))
    assert all(len(batch) == 1 or lengths[batch].max() * len(batch) <= budget for batch in batches)
    filled = [lengths[[*batch, after[0]]].max() * (len(batch) + 1) for batch, after in itertools.pairwise(batches)]
    assert all(size > budget for size in filled), "no batch could have taken the next row"


def test_evaluation_batches_hold_as_many_tokens_as_the_rows_asked_for_and_more_rows_where_these_are_short():
    lengths = np.sort(_lengths(500))[::-1]
    sizes = [len(batch) for batch in max_tokens_batches(lengths, 8)]
    assert sizes[0] == 8
    assert max(sizes) > 2 * sizes[0]
    assert sum(sizes) == 500


@pytest.mark.parametrize(("rows", "processes"), [(1, 2), (7, 3), (500, 2), (501, 4)])
def test_processes_take_evaluation_batches_of_as_many_rows_which_together_follow_each_other(rows, processes):
    lengths = np.sort(_lengths(rows))[::-1]
    batches = max_tokens_batches(lengths, 8, processes)
    steps = [batches[start : start + processes] for start in range(0, len(batches), processes)]
    assert all(len({len(batch) for batch in step}) == 1 and len(step) == processes for step in steps)
    gathered = [row for batch in batches for row in batch]
    assert gathered == [*range(rows), *[rows - 1] * (len(gathered) - rows)]
    assert len(gathered) - rows < processes
    assert max(lengths[batch].max() * len(batch) for batch in batches) <= 8 * lengths[0]


def test_the_casts_to_16_bits_are_made_once_for_a_whole_evaluation_and_change_nothing(
    trained: Path, sentences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """bf16 within autocast is the same number whether a weight is cast once or for every batch."""
    settings = {"model_name_or_path": trained, "do_predict": True, "precision": "bf16"}
    settings["test_file"] = sentences["test_file"]
    assert classify(tmp_path / "once", per_device_eval_batch_size=2, **settings) == 0

    def cast_for_every_batch(trainer, *given, **options):
        with precision.output_layer_in_float32(trainer.model):
            return Trainer.evaluation_loop(trainer, *given, **options)

    monkeypatch.setattr(EncoderTrainer, "evaluation_loop", cast_for_every_batch)
    assert classify(tmp_path / "again", per_device_eval_batch_size=2, **settings) == 0
    assert _probabilities(tmp_path / "once") == _probabilities(tmp_path / "again")
    difference = np.abs(np.subtract(_probabilities(tmp_path / "once"), _probabilities(trained)))
    assert 0 < difference.max() < 0.02, "16 bits, and close to 32"


def test_no_batch_has_more_rows_than_a_grid_of_cuda_has_blocks():
    batches = list(consecutive_batches(np.full(MOST_ROWS + 2, 3), budget=10**9))
    assert [len(batch) for batch in batches] == [MOST_ROWS, 2]
