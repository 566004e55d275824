"""The commands of the README, typed into a shell."""

import sys
from pathlib import Path

import pytest
from running import ROOT, accelerate, classify, read_json, results, subprocess_of, to_argv

SETTINGS = {"max_steps": 2, "max_train_samples": 32, "max_eval_samples": 16, "max_predict_samples": 16}


@pytest.mark.launch
def test_accelerate_launch_runs_the_demo(weights: str, tmp_path: Path):
    folder = tmp_path / "run"
    settings = {"config": "configs/demo/cola.yaml", "output_dir": folder, **SETTINGS, "disable_tqdm": True}
    done = subprocess_of(accelerate("run_classification.py", *to_argv(settings)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"All files are in {folder}" in done.stdout
    assert "Traceback" not in done.stderr
    assert read_json(folder / "run.json")["plan"]["world_size"] == 1
    assert "test_matthews_correlation" in results(folder)


@pytest.mark.launch
@pytest.mark.parametrize(
    ("script", "flags", "name"),
    [
        ("run_classification.py", ("--train_file", "reviews.csv"), "reviews"),
        ("run_nsp.py", ("--text", "meditations.txt"), "meditations"),
    ],
)
def test_python_runs_a_script_from_another_folder(script: str, flags: tuple[str, ...], name: str, tmp_path: Path):
    argv = [sys.executable, ROOT / script, *flags, "--model_name_or_path", "model", "--print_config"]
    done = subprocess_of(argv, cwd=tmp_path, PYTHONPATH=None)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"\noutput_dir: runs/{name}\n" in done.stdout


def test_a_task_without_the_hub_names_what_to_do(tiny_model: Path, tmp_path: Path, capsys):
    assert classify(tmp_path / "run", task="cola", model_name_or_path=tiny_model) == 2
    printed = capsys.readouterr().err
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert [name for name in ("--data_dir", "--model_name_or_path", "make demo") if name not in error] == []
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()
