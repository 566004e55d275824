"""The commands of the README, typed into a shell."""

import sys
import time
from pathlib import Path

from running import QUIET, ROOT, accelerate, classify, read_json, results, subprocess_of, words

SETTINGS = {"max_steps": 2, "max_train_samples": 32, "max_eval_samples": 16, "max_predict_samples": 16}


def test_accelerate_launch_runs_the_demo(weights: str, tmp_path: Path):
    folder = tmp_path / "run"
    settings = {"config": "configs/demo/cola.yaml", "output_dir": folder, **SETTINGS, "disable_tqdm": True}
    done = subprocess_of(accelerate("run_classification.py", *words(settings)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Everything is in {folder}" in done.stdout
    assert "Traceback" not in done.stderr
    assert read_json(folder / "run.json")["plan"]["world_size"] == 1
    assert "test_matthews_correlation" in results(folder)


def test_python_runs_the_script_from_another_folder(tiny_model: Path, make_csv, tmp_path: Path):
    settings = {
        **QUIET,
        "model_name_or_path": tiny_model,
        "train_file": make_csv("train", 20).name,
        "max_steps": 1,
    }
    script = ROOT / "run_classification.py"
    done = subprocess_of([sys.executable, script, *words(settings)], cwd=tmp_path, PYTHONPATH=None)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs" / "train" / "model.safetensors").is_file()


WAYS_OUT = ("--data_dir", "--model_name_or_path", "make demo")


def test_a_task_without_the_hub_ends_soon_and_names_the_ways_out(tmp_path: Path):
    """Soon: huggingface_hub alone would try again for 23 s per file."""
    refusing = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": None, "TRANSFORMERS_OFFLINE": None}
    settings = {"task": "cola", "output_dir": tmp_path / "run"}
    started = time.monotonic()
    done = subprocess_of([sys.executable, "run_classification.py", *words(settings)], **refusing)
    assert time.monotonic() - started < 15
    assert done.returncode == 2
    _assert_ways_out(done.stderr)
    assert not (tmp_path / "run").exists()


def test_a_local_model_without_the_data_names_the_ways_out(tiny_model: Path, tmp_path: Path, capsys):
    assert classify(tmp_path / "run", task="cola", model_name_or_path=tiny_model) == 2
    _assert_ways_out(capsys.readouterr().err)


def _assert_ways_out(told: str) -> None:
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in told
    assert [way for way in WAYS_OUT if way not in errors[0]] == []
