"""The suite with the real script in processes of their own, two at once."""

import pytest
from running import QUIET, read_json, to_argv

from bertlab.commands import suite


@pytest.mark.launch
def test_two_seeds_at_once_become_one_table(tmp_path, tiny_model, make_csv, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"train_file: {make_csv('train', 24)}\nvalidation_file: {make_csv('validation', 12)}\n")
    settings = {**QUIET, "model_name_or_path": tiny_model, "max_steps": 2, "metric_name": "accuracy"}
    places = ["--devices", "cpu", "--jobs", "2", "--output_dir", str(tmp_path / "out")]
    assert suite.main(["--configs", str(recipe), "--seeds", "2", *places, *to_argv(settings)]) == 0
    assert " (2 of 2)" in capsys.readouterr().err
    (row,) = read_json(tmp_path / "out/suite.json")
    assert (row["recipe"], row["split"], row["metric"], row["n"], row["examples"]) == (
        *("mine", "validation", "accuracy"),
        *(2, 12),
    )
    folders = [tmp_path / f"out/mine/seed{seed}" for seed in (1, 2)]
    scores = [read_json(folder / "eval_results.json")["eval_accuracy"] for folder in folders]
    assert (row["minimum"], row["maximum"]) == (min(scores), max(scores))
    assert [read_json(folder / "run.json")["seed"] for folder in folders] == [1, 2]
    assert row["model"] == "tiny-bert"
