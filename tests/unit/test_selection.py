"""Which epoch is the best, and by what."""

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
def test_the_best_epoch_has_the_least_of_an_error_and_the_most_of_a_score(given, greater, selection):
    data = SimpleNamespace(**{**vars(DATA), "selection": selection})
    assert arguments._with_selection(given, data)["greater_is_better"] is greater


@pytest.mark.parametrize(("name", "greater"), [("masked_accuracy", True), ("perplexity", False)])
def test_what_masked_words_are_measured_by_decides_where_words_are_masked(name: str, greater: bool):
    data = SimpleNamespace(**{**vars(DATA), "mlm_metrics": ("masked_accuracy", "perplexity")})
    given = {"metric_for_best_model": name}
    assert arguments._with_selection(given, data)["greater_is_better"] is greater
    with pytest.raises(UserError, match=f"--metric_for_best_model {name}: this run has no such metric"):
        arguments._with_selection(given, DATA)


def test_without_a_word_the_leading_metric_decides():
    values = arguments._with_selection({}, DATA)
    assert (values["metric_for_best_model"], values["greater_is_better"]) == ("pearson", True)
