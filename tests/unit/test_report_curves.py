"""Curves and tables of the page: equal to scikit-learn and to what is computed by hand."""

import json

import numpy as np
import pytest
from finished_runs import finished_run
from sklearn import metrics

from bertlab.report import curves, tables
from bertlab.report.curves import Decisions
from bertlab.report.run_folder import RunFolder


def decided(folder):
    run = RunFolder.read(folder)
    return run, curves.decisions(run, "validation")


@pytest.fixture(scope="module", params=["binary", "three", "multi"])
def case(request, tmp_path_factory):
    return decided(finished_run(tmp_path_factory.mktemp(request.param), request.param))


def test_the_decisions_are_those_of_the_confusion_matrix(case):
    run, by_class = case
    for place, (name, one) in enumerate(by_class.items()):
        row = run.scored["validation"]["per_class"][name]
        assert one.truth.sum() == row["support"]
        assert metrics.precision_score(one.truth, one.predicted) == pytest.approx(row["precision"])
        if not run.is_multi_label:
            assert (one.truth & one.predicted).sum() == run.scored["validation"]["confusion"][place][place]


def test_the_operating_point_is_where_the_predictions_are(case):
    _, by_class = case
    for one in by_class.values():
        x, y = curves.roc(one).operating_point
        assert y == pytest.approx(metrics.recall_score(one.truth, one.predicted))
        assert 1 - x == pytest.approx(metrics.recall_score(~one.truth, ~one.predicted))
        recall, precision = curves.precision_recall(one).operating_point
        assert recall == y and precision == pytest.approx(metrics.precision_score(one.truth, one.predicted))


def test_two_classes_have_one_curve_and_many_have_one_together(case):
    run, by_class = case
    names = list(curves.drawn(run, by_class))
    assert names == (["acceptable"] if len(by_class) == 2 else list(by_class))
    many = {f"{name} {copy}": one for name, one in by_class.items() for copy in range(4)}
    run.results["class_names"] = list(many)
    ((_, one),) = curves.drawn(run, many).items()
    assert len(one.truth) == sum(len(other.truth) for other in many.values())
    run.results["class_names"] = list(by_class)


def test_coverage_of_a_few_predictions_by_hand():
    truth = np.array([True, True, False, False, True])
    probability = np.array([0.9, 0.4, 0.2, 0.7, 0.7])
    predicted = probability >= 0.5
    both = {"yes": Decisions(truth, probability, predicted), "no": Decisions(~truth, 1 - probability, ~predicted)}
    # By confidence: 0.9 right, 0.8 right, 0.7 wrong and 0.7 right, 0.6 wrong.
    kept, correct = curves.coverage(both, is_multi_label=False)
    assert kept.tolist() == [1, 2, 4, 5] and correct.tolist() == [1, 2, 3, 3]
    kept, correct = curves.coverage({"yes": both["yes"]}, is_multi_label=True)
    assert kept.tolist() == [1, 2, 4, 5] and correct.tolist() == [1, 2, 3, 3]


def test_all_predictions_have_the_accuracy_of_the_run(case):
    run, by_class = case
    kept, correct = curves.coverage(by_class, run.is_multi_label)
    if run.is_multi_label:
        expected = np.mean([one.truth == one.predicted for one in by_class.values()])
    else:
        matrix = np.array(run.scored["validation"]["confusion"])
        expected = np.trace(matrix) / matrix.sum()
    assert correct[-1] / kept[-1] == pytest.approx(expected)


def test_the_averages_are_those_of_scikit_learn(case):
    run, by_class = case
    table = {row[0]: row[1:] for row in tables.by_class(run, "validation", by_class).rows}
    truth, probability, predicted = (np.stack(side, axis=1) for side in zip(*by_class.values(), strict=True))
    for average in ("macro", "weighted"):
        expected = [
            *metrics.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)[:3],
            metrics.roc_auc_score(truth, probability, average=average),
            metrics.average_precision_score(truth, probability, average=average),
        ]
        assert table[f"{average} average"] == [*(f"{value:.3f}" for value in expected), int(truth.sum())]


def test_examples_without_label_have_no_part_in_curves(tmp_path):
    folder = finished_run(tmp_path, "three")
    path = folder / "predictions" / "validation.tsv"
    header, first, *rest = path.read_text().splitlines()
    cells = first.split("\t")
    path.write_text("\n".join([header, "\t".join([cells[0], "", *cells[2:]]), *rest]) + "\n")
    results = json.loads((folder / "results.json").read_text())
    results["splits"]["validation"]["labelled"] -= 1
    (folder / "results.json").write_text(json.dumps(results))
    _, by_class = decided(folder)
    assert {len(one.truth) for one in by_class.values()} == {119}


def test_more_classes_than_a_matrix_shows_are_a_list_of_confusions(tmp_path):
    run = RunFolder.read(finished_run(tmp_path, "three"))
    run.scored["validation"]["confusion"] = [[5, 3, 0], [0, 0, 0], [1, 4, 5]]
    rows = tables.confusions(run, "validation").rows
    assert rows == [
        ["positive", "neutral", 4, "40.0%"],
        ["negative", "neutral", 3, "37.5%"],
        ["positive", "negative", 1, "10.0%"],
    ]
