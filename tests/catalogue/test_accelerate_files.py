"""Every file under configs/accelerate is understood by accelerate itself and starts what its comment says."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from bertlab.cli import parser, recipes
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments

FOLDER = recipes.CONFIGS / "accelerate"
FILES = sorted(FOLDER.glob("*"))
NAMES = ("cpu_2_processes", "fsdp", "multi_gpu", "multi_node", "one_gpu")


def _launch(file: Path, *flags: str) -> Any:
    """Return what `accelerate launch --config_file FILE FLAGS` makes of its flags, without starting anything."""
    parsed = launch_command_parser().parse_args(["--config_file", str(file), *flags, "run_classification.py"])
    return _validate_launch_command(parsed)[0]


def _environment(name: str, monkeypatch: pytest.MonkeyPatch, *flags: str) -> dict[str, str]:
    launched = _launch(FOLDER / f"{name}.yaml", *flags)
    if launched.multi_gpu or launched.use_fsdp:
        return prepare_multi_gpu_env(launched)
    return prepare_simple_launcher_cmd_env(launched)[1]


def _commands(file: Path) -> list[list[str]]:
    text = "\n".join(line[1:].strip() for line in file.read_text(encoding="utf-8").splitlines() if line[:1] == "#")
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("accelerate launch")]


def test_the_files_are_those_the_documents_name():
    assert tuple(file.stem for file in FILES) == NAMES
    assert {file.suffix for file in FILES} == {".yaml"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_comment_says_what_it_is_and_its_commands_are_understood(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(recipes.CONFIGS.parent)
    assert file.read_text(encoding="utf-8").startswith("# ")
    for argv in _commands(file):
        script = argv.index("run_classification.py")
        assert argv[2:4] == ["--config_file", f"configs/accelerate/{file.name}"]
        assert _launch(Path(argv[3]), *argv[4:script]).num_processes >= 1
        assert parser.parse(argv[script + 1 :], (DataArguments, ModelArguments, RunArguments), "usage")
    assert _commands(file)


def test_one_gpu_is_the_only_one_its_process_sees(monkeypatch):
    environment = _environment("one_gpu", monkeypatch)
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert environment["ACCELERATE_USE_CPU"] == "False"


@pytest.mark.parametrize(("name", "machines", "processes"), [("multi_gpu", 1, 8), ("multi_node", 2, 16)])
def test_one_process_is_started_for_each_gpu(name: str, machines: int, processes: int, monkeypatch):
    launched = _launch(FOLDER / f"{name}.yaml")
    assert (launched.num_machines, launched.num_processes) == (machines, processes)
    environment = _environment(name, monkeypatch)
    assert "CUDA_VISIBLE_DEVICES" not in environment or environment["CUDA_VISIBLE_DEVICES"] != "0"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "no", "the script chooses the precision"
    assert "ACCELERATE_USE_FSDP" not in environment


def test_no_process_of_a_cpu_sees_a_gpu(monkeypatch):
    assert _environment("cpu_2_processes", monkeypatch)["CUDA_VISIBLE_DEVICES"] == "-1,-1"


def test_fsdp_shards_by_layer_and_writes_one_file(monkeypatch):
    environment = _environment("fsdp", monkeypatch)
    launcher = {"USE_FSDP": "true", "MIXED_PRECISION": "no"}
    assert {name: environment[f"ACCELERATE_{name}"] for name in launcher} == launcher
    fsdp = {"VERSION": "2", "STATE_DICT_TYPE": "FULL_STATE_DICT", "TRANSFORMER_CLS_TO_WRAP": "BertLayer"}
    assert {name: environment[f"FSDP_{name}"] for name in fsdp} == fsdp
