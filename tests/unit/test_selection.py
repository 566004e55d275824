"""The metric that selects the best epoch, and its direction."""

from types import SimpleNamespace

import pytest

from bertlab.errors import UserError
from bertlab.training import arguments

DATA = SimpleNamespace(eval_split="selection", selection="selection", metrics=("pearson", "mse"), mlm_metrics=())


@pytest.mark.parametrize(
    ("given", "greater"),
    [
        ({"metric_for_best_model": "mse"}, False),
        ({"metric_for_best_model": "eval_mse"}, False),
        ({"metric_for_best_model": "loss"}, False),
        ({"metric_for_best_model": "pearson"}, True),
        ({"metric_for_best_model": "mse", "greater_is_better": True}, True),
    ],
)
@pytest.mark.parametrize("selection", ["selection", None])
def test_the_best_epoch_has_the_smallest_error_or_the_largest_score(given, greater, selection):
    data = SimpleNamespace(**{**vars(DATA), "selection": selection})
    assert arguments._with_selection(given, data)["greater_is_better"] is greater


@pytest.mark.parametrize(("name", "greater"), [("masked_accuracy", True), ("perplexity", False)])
def test_mlm_metrics_select_only_in_mlm_runs(name: str, greater: bool):
    data = SimpleNamespace(**{**vars(DATA), "mlm_metrics": ("masked_accuracy", "perplexity")})
    given = {"metric_for_best_model": name}
    assert arguments._with_selection(given, data)["greater_is_better"] is greater
    with pytest.raises(UserError, match=f"--metric_for_best_model {name}: this run has no such metric"):
        arguments._with_selection(given, DATA)


def test_the_primary_metric_selects_by_default():
    values = arguments._with_selection({}, DATA)
    assert (values["metric_for_best_model"], values["greater_is_better"]) == ("pearson", True)


def test_evaluations_in_mid_epoch_are_saved_unless_the_user_says_otherwise():
    steps = {"eval_strategy": "steps", "eval_steps": 4, "load_best_model_at_end": True, "save_strategy": "epoch"}
    assert arguments._with_saves(steps, {"eval_strategy"}) == {**steps, "save_strategy": "steps", "save_steps": 4}
    assert arguments._with_saves(steps, {"eval_strategy", "save_strategy"}) == steps
    for unchanged in ({**steps, "eval_strategy": "epoch"}, {**steps, "load_best_model_at_end": False}):
        assert arguments._with_saves(unchanged, set()) == unchanged
