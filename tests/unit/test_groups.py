"""Rows that belong together: by a column, by shared texts, through others; in splits, findings and intervals."""

import numpy as np
import pytest
from datasets import Dataset
from finished_runs import finished_run

from bertlab.commands import check
from bertlab.data.groups import effective_groups, resampled_groups, row_groups
from bertlab.data.labels import SINGLE, LabelSchema
from bertlab.evaluation.evaluate import SplitResult
from bertlab.io import read_json, write_json
from bertlab.report import html, model_card, scores
from bertlab.report.results import Fitted, split_results
from bertlab.report.run_folder import RunFolder


def table(**columns):
    return Dataset.from_dict(columns)


def test_rows_of_one_group_share_a_number_and_a_blank_is_a_group_of_its_own():
    split = table(text=list("abcdef"), group=["p2", "p1", "", "p2", "", "p1"])
    assert row_groups(split, by_text=False).tolist() == [0, 1, 2, 0, 3, 1]


def test_rows_are_linked_through_groups_and_texts():
    # Row 0 shares its text with row 2, which shares its group with row 4.
    split = table(text=["x", "y", "x", "z", "w"], group=["p1", "p2", "p3", "p4", "p3"])
    assert row_groups(split, by_text=True).tolist() == [0, 1, 0, 2, 0]
    assert row_groups(split, by_text=False).tolist() == [0, 1, 2, 3, 2]


def test_pairs_are_linked_by_either_text_in_either_place():
    split = table(text=["a", "c", "e", "b"], text_pair=["b", "d", "f", "g"])
    assert row_groups(split, by_text=True).tolist() == [0, 1, 2, 0]


def test_without_a_shared_text_there_are_no_groups():
    assert row_groups(table(text=["a", "b"]), by_text=True) is None
    assert row_groups(table(text=["a", "a"]), by_text=False) is None


def test_a_group_is_no_text():
    assert row_groups(table(text=["p1", "b"], group=["p2", "p1"]), by_text=True) is None


def test_intervals_resample_pairs_that_share_a_text_unless_one_text_is_in_most(capsys):
    premises = [f"premise {row // 3}" for row in range(90)]
    found = resampled_groups(table(text=premises, text_pair=list(map(str, range(90)))), "dev", by_text=False)
    assert found.shared == "a text" and np.array_equal(found.numbers, np.repeat(range(30), 3))
    aspects = table(text=[f"review {row}" for row in range(90)], text_pair=["food", "price", "staff"] * 30)
    assert resampled_groups(aspects, "dev", by_text=False) is None
    assert "dev: its 90 rows are in 3 groups of rows that share a text, too few to resample" in capsys.readouterr().err
    singles = table(text=["good"] * 9 + ["bad"])
    assert resampled_groups(singles, "dev", by_text=False) is None


def test_pairs_of_one_document_are_resampled_together_unless_documents_are_few(capsys):
    documents = [row // 4 for row in range(120)]
    found = resampled_groups(table(document=documents), "validation", by_text=False)
    assert found.shared == "a document" and found.numbers.tolist() == documents
    assert resampled_groups(table(document=[0] * 50), "validation", by_text=False) is None
    assert "its 50 rows are in one group of rows that share a document, too few" in capsys.readouterr().err


@pytest.mark.parametrize(("shared", "sizes"), [("question", [1, 2, 3, 10]), ("premise", [3])])
def test_pairs_that_share_a_text_widen_the_interval_by_the_inflation_of_the_variance(shared, sizes):
    # One question against several sentences, as in QNLI; one premise with three hypotheses, as in MNLI.
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(200), np.resize(sizes, 200))
    split = table(text=[f"{shared} {one}" for one in group], text_pair=list(map(str, range(len(group)))))
    together = resampled_groups(split, "dev", by_text=False)

    def correct(samples):
        """Draw which rows are correct: of half of the questions 95%, of the others 55%, 75% in all."""
        rates = np.where(rng.random((samples, 200)) < 0.5, 0.95, 0.55)[:, group]
        return rng.random(rates.shape) < rates

    true_sd = correct(4000).mean(axis=1).std()
    inflation = true_sd / np.sqrt(0.75 * 0.25 / len(group))
    wider = []
    for hits in correct(15):
        labels = rng.integers(0, 2, len(group))
        logits = np.eye(2)[np.where(hits, labels, 1 - labels)]
        result = SplitResult(
            "dev", "eval", logits, logits.argmax(axis=1), labels, {"accuracy": hits.mean()}, True, together
        )
        entry = split_results(result, LabelSchema(SINGLE, ("a", "b"), {}), ["accuracy"], Fitted(), {}, None, None)
        wider.append(entry["groups"]["wider"])
    assert inflation > 1.15
    assert np.mean(wider) == pytest.approx(inflation, rel=0.06)
    (said,) = scores.groups({"metrics": ["accuracy"], "splits": {"dev": entry}})
    assert said.startswith("dev: 200 groups of rows that share a text are resampled, not rows: the interval of")
    assert said.endswith(f" is {wider[-1]:.2f} times as wide.")


def test_groups_are_said_on_page_and_card(tmp_path, monkeypatch):
    monkeypatch.setattr(html.plots, "render_plots", lambda *_: {})
    folder = finished_run(tmp_path / "run", "binary")
    results = read_json(folder / "results.json")
    results["splits"]["validation"]["groups"] = {"count": 40, "shared": "a text", "wider": 1.5}
    write_json(folder / "results.json", results)
    said = scores.groups(results)[0]
    assert said.startswith("validation: 40 groups of rows that share a text are resampled")
    run = RunFolder.read(folder)
    assert said in html.render(run) and said in model_card.render(run)


def test_the_effective_number_of_groups_by_hand():
    assert effective_groups(np.array([0, 0, 0, 1])) == pytest.approx(16 / 10)
    assert effective_groups(np.arange(7)) == 7


def test_a_group_in_two_splits_is_reported(tiny_model, tmp_path, write_csv, capsys):
    header = ("text", "label", "patient")
    train = [[f"text {row}", "ab"[row % 2], f"p{row // 2}"] for row in range(12)]
    dev = [[f"other {row}", "ab"[row % 2], f"p{row // 2 + 5}"] for row in range(6)]
    dev[5][2] = ""
    paths = [str(write_csv(tmp_path / f"{name}.csv", header, rows)) for name, rows in (("t", train), ("d", dev))]
    argv = ["--train_file", paths[0], "--validation_file", paths[1], "--model_name_or_path", str(tiny_model)]
    assert check.main([*argv, "--group_column", "patient", "--strict"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG  validation: 1 group is also in train, for example 'p5'." in printed
    assert "validation: 1 row has no group and counts alone." in printed
    assert check.main([*argv, "--group_column", "patent"]) == 2
    assert "has no column 'patent'. Did you mean 'patient'?" in capsys.readouterr().err


def test_a_group_is_the_same_number_in_a_column_with_empty_cells(tiny_model, tmp_path, write_csv, capsys):
    train = [[f"text {row}", "ab"[row % 2], f" {row}"] for row in range(6)]
    dev = [["other 0", "a", "5.0"], ["other 1", "b", ""], ["other 2", "a", "5.5"]]  # pandas writes 5.0 beside no number
    header = ("text", "label", "patient")
    paths = [str(write_csv(tmp_path / f"{name}.csv", header, rows)) for name, rows in (("t", train), ("d", dev))]
    argv = ["--train_file", paths[0], "--validation_file", paths[1], "--model_name_or_path", str(tiny_model)]
    assert check.main([*argv, "--group_column", "patient", "--strict"]) == 1
    assert "WRONG  validation: 1 group is also in train, for example '5'." in capsys.readouterr().out


def test_no_group_is_in_two_parts(tiny_model, tmp_path, write_csv, capsys):
    rows = [[f"text {row}", "ab"[row % 2], f"p{row // 4}"] for row in range(120)]
    path = str(write_csv(tmp_path / "t.csv", ("text", "label", "patient"), rows))
    argv = ["--train_file", path, "--group_column", "patient", "--validation_fraction", "0.2", "--strict"]
    argv += ["--selection_fraction", "0.2", "--model_name_or_path", str(tiny_model)]
    assert check.main(argv) == 0
    assert "also in" not in capsys.readouterr().out
