"""The suite with the real script, in this process and in one of its own."""

import contextlib
import shlex

import pytest
from huggingface_hub.cli.hf import app
from many_runs import in_this_process
from running import QUIET, drawing, read_json, to_argv

from bertlab.commands import jobs, suite


@pytest.mark.launch
def test_a_seed_is_run_after_the_one_that_is_finished_and_both_become_one_table(
    tmp_path, tiny_model, make_csv, capsys, local_hub
):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"train_file: {make_csv('train', 24)}\nvalidation_file: {make_csv('validation', 12)}\n")
    settings = {**QUIET, "model_name_or_path": tiny_model, "max_steps": 2, "metric_name": "accuracy"}
    flags = ["--devices", "cpu", "--output_dir", str(tmp_path / "out"), *to_argv(settings)]
    assert suite.main(["--configs", str(recipe), "--seeds", "1", *flags, "--push_to_hub"]) == 2
    upload = capsys.readouterr().err.split("`")[1]
    with drawing(False), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "run_all", in_this_process)
        assert suite.main(["--configs", str(recipe), "--seeds", "1", *flags]) == 0
    assert " (1 of 1)" in capsys.readouterr().err
    assert suite.main(["--configs", str(recipe), "--seeds", "2", *flags]) == 0
    assert " (1 of 1)" in capsys.readouterr().err, "a process of its own for seed 2 alone"
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
    _, *words = shlex.split(upload.replace("OWNER/NAME", "somebody/mine").replace("FOLDER", str(folders[0])))
    with contextlib.suppress(SystemExit):
        app(words)
    (files,) = local_hub.uploads
    assert files.keys() == {  # and README.md where it is drawn
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("results.json", "all_results.json", "train_results.json", "eval_results.json"),
    }
