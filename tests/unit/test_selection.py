"""The metric that selects the best epoch, and its direction."""

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainingArguments
from transformers.optimization import get_scheduler

from bertlab.cli.arguments import RunArguments
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
    assert arguments._with_selection(given, data, given)["greater_is_better"] is greater


@pytest.mark.parametrize(("name", "greater"), [("masked_accuracy", True), ("perplexity", False)])
def test_mlm_metrics_select_only_in_mlm_runs(name: str, greater: bool):
    data = SimpleNamespace(**{**vars(DATA), "mlm_metrics": ("masked_accuracy", "perplexity")})
    given = {"metric_for_best_model": name}
    assert arguments._with_selection(given, data, given)["greater_is_better"] is greater
    with pytest.raises(UserError, match=f"--metric_for_best_model {name}: this run has no such metric"):
        arguments._with_selection(given, DATA, given)


def test_the_primary_metric_selects_by_default():
    values = arguments._with_selection({}, DATA, ())
    assert (values["metric_for_best_model"], values["greater_is_better"]) == ("pearson", True)


@pytest.mark.parametrize("selection", ["selection", None])
def test_the_best_is_saved_by_the_primary_metric(selection):
    data = SimpleNamespace(**{**vars(DATA), "selection": selection, "metrics": ("mse",)})
    values = arguments._with_selection({"save_strategy": "best", "eval_strategy": "epoch"}, data, ())
    assert (values["metric_for_best_model"], values["greater_is_better"]) == ("mse", False)


def test_evaluations_in_mid_epoch_are_saved_unless_the_user_says_otherwise():
    steps = {"eval_strategy": "steps", "eval_steps": 4, "load_best_model_at_end": True, "save_strategy": "epoch"}
    assert arguments._with_saves(steps, {"eval_strategy"}) == {**steps, "save_strategy": "steps", "save_steps": 4}
    assert arguments._with_saves(steps, {"eval_strategy", "save_strategy"}) == steps
    for unchanged in ({**steps, "eval_strategy": "epoch"}, {**steps, "load_best_model_at_end": False}):
        assert arguments._with_saves(unchanged, set()) == unchanged


def test_the_best_of_the_saved_models_is_chosen_where_saves_are_by_steps():
    given = {"save_strategy": "steps", "save_steps": 30}
    values = arguments._with_selection(given, DATA, given)
    assert (values["eval_strategy"], values["eval_steps"]) == ("steps", 30)
    by_default = arguments._with_selection({"save_strategy": "epoch"}, DATA, ())
    assert by_default["eval_strategy"] == "epoch"


@pytest.mark.parametrize(
    ("given", "message", "obeyed"),
    [
        ({"eval_strategy": "no"}, "--eval_strategy no: evaluations on the selection split choose the best epoch.", {}),
        (
            {"eval_strategy": "steps", "save_strategy": "epoch"},
            "--eval_strategy steps and --save_strategy epoch: the best model is chosen among those saved.",
            {"eval_strategy": "steps"},
        ),
    ],
)
def test_evaluations_of_which_the_best_cannot_be_loaded_are_refused(given, message, obeyed):
    with pytest.raises(UserError, match=message):
        arguments._with_selection(given, DATA, given)
    arguments._with_selection(obeyed, DATA, obeyed)
    last = {**given, "load_best_model_at_end": False}
    assert arguments._with_selection(last, DATA, last).items() >= last.items()


def test_a_metric_that_the_run_leaves_out_is_refused_with_both_ways_out():
    given = {"metric_for_best_model": "average_precision"}
    with pytest.raises(UserError, match="Add it to --metric_name, or choose from: loss, pearson, mse"):
        arguments._with_selection(given, DATA, given)


@pytest.mark.parametrize("schedule", arguments.FOLLOWING)
@pytest.mark.parametrize(("metric", "greater"), [("accuracy", True), ("loss", False)])
def test_a_schedule_that_follows_a_metric_lowers_the_rate_where_that_gets_worse(schedule, metric, greater):
    args = TrainingArguments(
        use_cpu=True,
        learning_rate=0.01,
        eval_strategy="epoch",
        lr_scheduler_type=schedule,
        metric_for_best_model=metric,
        lr_scheduler_kwargs={"patience": 0, "factor": 0.5},
    )
    arguments._follow_metric(args)
    arguments._refuse_bad_schedule(args)

    def rate_after(values: list[float]) -> float:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=args.learning_rate)
        followed = get_scheduler(schedule, optimizer, 0, 10, args.lr_scheduler_kwargs)
        for value in values:
            followed.step(value)
        return float(optimizer.param_groups[0]["lr"])

    rising, falling = rate_after([0.1, 0.2, 0.3]), rate_after([0.3, 0.2, 0.1])
    better, worse = (rising, falling) if greater else (falling, rising)
    assert worse < 0.01 <= better


@pytest.mark.parametrize(
    ("given", "stops", "flag"),
    [
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, None, "--lr_scheduler_type reduce_lr_on_plateau"),
        ({"load_best_model_at_end": True}, None, "--load_best_model_at_end"),
        ({"save_strategy": "best"}, None, "--save_strategy best"),
        ({"eval_strategy": "no", "load_best_model_at_end": False}, 2, "--early_stopping_patience"),
    ],
)
def test_what_evaluations_decide_needs_some(given, stops, flag):
    data = SimpleNamespace(**{**vars(DATA), "selection": "selection" if stops else None, "stream": None})
    run, given = RunArguments(early_stopping_patience=stops), {"do_train": True, **given}
    with pytest.raises(UserError, match=f"{flag}: nothing is evaluated during training"):
        arguments._refuse_to_decide_by_nothing(given, run, data)
    arguments._refuse_to_decide_by_nothing({**given, "do_train": False}, run, data)
    arguments._refuse_to_decide_by_nothing({**given, "eval_strategy": "epoch"}, run, data)


def test_a_learning_rate_that_follows_the_reported_split_is_warned_of(capsys):
    data = SimpleNamespace(**{**vars(DATA), "selection": None})
    given = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch", "metric_for_best_model": "pearson"}
    arguments._with_selection(given, data, given)
    assert capsys.readouterr().err == (
        "warning: the learning rate follows the split that is reported; --selection_fraction 0.1 avoids that.\n"
    )
