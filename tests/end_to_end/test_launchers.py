"""The commands of the README, typed into a shell."""

import sys
from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env
from running import ROOT, classify, read_json, results, subprocess_of, to_argv

import run_classification

SETTINGS = {"max_steps": 2, "max_train_samples": 32, "max_eval_samples": 16, "max_predict_samples": 16}


@pytest.mark.slow
def test_the_demo_runs_as_accelerate_launches_it(weights: str, tmp_path: Path, monkeypatch, capsys):
    """What accelerate tells the one process that it starts; two are launched in test_exact_loss.py."""
    launched = _validate_launch_command(launch_command_parser().parse_args(["run_classification.py"]))[0]
    for name, value in prepare_simple_launcher_cmd_env(launched)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # a number above 1 is kept: no more threads for this process
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "run"
    settings = {"config": "configs/demo/cola.yaml", "output_dir": folder, **SETTINGS, "disable_tqdm": True}
    assert run_classification.main(to_argv(settings)) == 0
    assert f"All files are in {folder}" in capsys.readouterr().out
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
