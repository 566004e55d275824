"""The suite plans, runs, skips, resumes and gathers; a run that fails or is killed stops no other."""

import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from many_runs import order, started

from bertlab.__main__ import main
from bertlab.commands import jobs, run_specs, suite
from bertlab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> int:
    return main(["suite", *map(str, words)])


def refusal(capsys, *words: object) -> str:
    assert run(*words) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    return printed[0]


def test_every_recipe_and_seed_is_run_once_and_gathered(stub, capsys, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(jobs.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    words = ("--tasks", "cola", "rte", "--seeds", "2", "--devices", "cpu", "--jobs", "2", "--learning_rate", "3e-5")
    assert run(*words) == 0
    folders = [f"runs/suite/{task}/seed{seed}" for task in ("cola", "rte") for seed in (1, 2)]
    assert started(stub) == [[folder, "3", ""] for folder in folders]
    printed = capsys.readouterr()
    assert sum(" started on cpu" in line for line in printed.err.splitlines()) == 4
    assert sum(" finished in " in line for line in printed.err.splitlines()) == 4
    assert "(1 of 4, about " in printed.err
    assert "(4 of 4)" in printed.err
    assert "0.5150 ± 0.0071 (2)" in printed.out
    assert "a line for the log" in (stub / "runs/suite/rte/seed2.log").read_text()
    rows = json.loads((stub / "runs/suite/suite.json").read_text())
    assert [(row["recipe"], row["n"], row["minimum"], row["maximum"]) for row in rows] == [
        ("cola", 2, 0.51, 0.52),
        ("rte", 2, 0.51, 0.52),
    ]
    assert (stub / "runs/suite/suite.csv").read_text().startswith("recipe,model,split,metric,mean,sd,n,")
    assert "| cola | bert-base-cased | validation | accuracy | 0.5150 ± 0.0071 (2) |" in (
        stub / "runs/suite/suite.md"
    ).read_text(encoding="utf-8")
    # A second call runs nothing; one seed more runs that alone.
    assert run(*words, "--format", "json") == 0
    assert started(stub) == []
    assert json.loads(capsys.readouterr().out) == rows
    assert run("--tasks", "cola", "--seeds", "3", "--learning_rate", "3e-5", "--devices", "cpu") == 0
    assert [line[0] for line in started(stub)] == ["runs/suite/cola/seed3"]


def test_failed_and_killed_runs_are_named_and_tried_again(stub, capsys):
    order(stub, seed1="fail", seed2="kill")
    assert run("--tasks", "cola", "--seeds", "3", "--devices", "cpu") == 1
    printed = capsys.readouterr()
    log = "see runs/suite/cola/seed"
    assert f"not finished: runs/suite/cola/seed1 ended with status 3; {log}1.log" in printed.err
    assert f"not finished: runs/suite/cola/seed2 was killed by signal 9; {log}2.log" in printed.err
    assert "0.5300 ± - (1)" in printed.out
    assert len(started(stub)) == 3
    order(stub)
    assert run("--tasks", "cola", "--seeds", "3", "--devices", "cpu") == 0
    assert [line[0] for line in started(stub)] == ["runs/suite/cola/seed1", "runs/suite/cola/seed2"]
    assert "(3)" in capsys.readouterr().out


def test_ctrl_c_ends_the_runs_and_says_how_to_resume(stub, capsys):
    order(stub, seed1="hang")

    def interrupt() -> None:
        while not (stub / "runs/suite/cola/seed1/hanging").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run("--tasks", "cola", "--seeds", "2", "--devices", "cpu") == 130
    thread.join()
    printed = capsys.readouterr().err
    assert printed.count("info: waiting up to 60 s for 1 run to save; Ctrl-C again does not wait.") == 1
    assert "stopped; the same command resumes it." in printed
    assert [line[0] for line in started(stub)] == ["runs/suite/cola/seed1"]
    order(stub)
    assert run("--tasks", "cola", "--seeds", "2", "--devices", "cpu") == 0


def started_deaf(folder: Path, count: int) -> Generator[jobs.Event, None, None]:
    """Start commands that do not leave when they are asked to; each writes its process id into its log."""
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"import os, signal, time; {ignore}; print(os.getpid(), flush=True); time.sleep(60)"
    todo = [SimpleNamespace(command=(sys.executable, "-c", code), log=folder / f"{n}.log") for n in range(count)]
    events = jobs.run_all(todo, [jobs.Slot("cpu", {})] * count)
    for _ in todo:
        next(events)
    while not all(run.log.read_text() for run in todo):
        time.sleep(0.02)
    return events


def assert_gone(log: Path) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_a_run_that_does_not_leave_is_killed_after_a_while(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "GRACE", 0)
    started_deaf(tmp_path, 2).close()
    assert "info: waiting up to 0 s for 2 runs to save;" in capsys.readouterr().err
    assert_gone(tmp_path / "0.log")
    assert_gone(tmp_path / "1.log")


def test_a_second_ctrl_c_kills_what_has_not_left(tmp_path, monkeypatch):
    events = started_deaf(tmp_path, 1)
    while_waiting = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(jobs, "time", while_waiting)
    events.close()
    assert_gone(tmp_path / "0.log")


def test_a_process_that_cannot_be_started_ends_the_suite_in_one_line(stub, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(stub / "no_python"))
    assert run("--tasks", "cola", "--seeds", "2", "--devices", "cpu") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: runs/suite/cola/seed1: its process could not be started: ") and "no_python" in line
    assert line.endswith("The same command resumes from here.")


def test_commands_are_printed_instead_and_gathered_later(stub, capsys):
    words = ("--tasks", "rte", "--seed_list", "3", "7", "--label_map", "a=x y", "--config")
    preset = ROOT / "configs/presets/stable.yaml"
    assert run(*words, preset, "--print_commands") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    commands = [shlex.split(line) for line in printed.out.splitlines()]
    assert [command[command.index("--output_dir") + 1] for command in commands] == [
        "runs/suite/rte-stable/seed3",
        "runs/suite/rte-stable/seed7",
    ]
    assert commands[0][:2] == [sys.executable, "scripts/run_classification.py"]
    assert commands[0][2:6] == ["--task", "rte", "--label_map", "a=x y"]
    assert not (stub / "runs").exists()


def test_runs_made_or_begun_with_other_values_are_refused_before_anything_starts(stub, capsys):
    order(stub, seed2="kill")
    assert run("--tasks", "cola", "--seeds", "2", "--learning_rate", "1e-4", "--devices", "cpu") == 1
    started(stub)
    capsys.readouterr()
    printed = refusal(capsys, "--tasks", "rte", "cola", "--seeds", "2")
    assert "runs/suite/cola/seed1 holds a run made with other values: learning_rate 0.0001, now 2e-05." in printed
    assert printed.endswith("Name another --output_dir, or delete that folder.")
    assert "runs/suite/cola/seed2 holds" in refusal(capsys, "--tasks", "cola", "--seed_list", "2")
    assert started(stub) == []
    order(stub)
    assert run("--tasks", "cola", "--seed_list", "2", "--output_dir", "other", "--devices", "cpu") == 0
    # What changes neither data, model nor training does not matter, nor does how a number is written.
    more = ["--save_total_limit", "2", "--logging_steps", "7"]
    assert run("--tasks", "cola", "--seeds", "2", "--learning_rate", "0.0001", *more) == 0
    # Nor does how a path is written.
    assert not run_specs.differences({"text": ["books/"]}, {"text": ["./books"]}, run_specs.NSP.groups)
    assert run_specs.differences({"text": ["books/"]}, {"text": ["books", "more/"]}, run_specs.NSP.groups)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to run. Name recipes: --tasks cola rte, or --configs nsp/meditations."),
        (["--tasks", "kola"], "--task kola: there is no such task. Did you mean 'cola'?"),
        (["--tasks", "cola", "--sedes", "5"], "--sedes: no such flag. Did you mean 'seeds'?"),
        (["--tasks", "cola", "--learning_rat", "1"], "--learning_rat: no such flag. Did you mean 'learning_rate'?"),
        (["--tasks", "cola", "--learning_rate", "fast"], "--learning_rate: 'fast' is not a number."),
        (["--tasks", "cola", "--seed", "3"], "--seed cannot be used with many runs. Write --seeds or --seed_list."),
        (["--task", "cola"], "--task cannot be used with many runs. Write --tasks."),
        (["--task_name", "cola"], "--task cannot be used with many runs. Write --tasks."),
        (["--tasks", "cola", "--seeds", "3", "7"], "--seeds takes one value, not 2: 3 7. How many seeds"),
        (["--tasks", "cola", "--seeds", "0"], "--seeds: 0 is out of range. It must be at least 1."),
        (
            ["--tasks", "cola", "--seeds", "2", "--seed_list", "3"],
            "--seeds conflicts with --seed_list: both name the seeds.",
        ),
        (["--tasks", "cola", "--seeds", "2", "--seeds", "3"], "--seeds is given twice"),
        (["--tasks", "cola", "CoLA"], "two recipes are called cola, or one is named twice."),
        (["--configs", "presets/stable"], "is a preset and no run. Put it on top: --tasks"),
        (["--configs", "nowhere"], "there is no recipe 'nowhere'."),
        (["--tasks", "cola", "--resume", "auto"], "--resume cannot be used with many runs."),
        (["--tasks", "cola", "--overwrite_output_dir"], "--overwrite_output_dir cannot be used with many runs."),
        (
            ["--tasks", "cola", "--push_to_hub"],
            "--push_to_hub would have many runs replace each other in one repository.",
        ),
        (["--tasks", "cola", "--print_config"], "--print_config cannot be used with many runs."),
        (["--tasks", "cola", "--devices", "cuda:99"], "--devices cuda:99: there is no such device. There is "),
        (["--tasks", "cola", "--devices", "gpu"], "--devices gpu: there is no such device. There is "),
        (["--tasks", "cola", "--devices", "cpu", "cpu"], "--devices cpu cpu: one is named twice."),
        (["--tasks", "cola", "--jobs", "0"], "--jobs: 0 is out of range. It must be at least 1."),
        (["--tasks", "cola", "--format", "html"], "--format: 'html' is not one of its values."),
        (["cola"], "'cola' belongs to no flag."),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_starts(stub, capsys, words, message):
    assert message in refusal(capsys, *words)
    assert started(stub) == []


def test_an_output_folder_that_cannot_be_made_is_one_line_before_anything_starts(stub, capsys):
    (stub / "a.csv").write_text("mine", encoding="utf-8")
    printed = refusal(capsys, "--tasks", "cola", "--devices", "cpu", "--output_dir", "a.csv")
    assert printed == "error: --output_dir a.csv cannot be written: File exists. Name another folder."
    assert "--output_dir a.csv/b cannot be written" in refusal(
        capsys, "--tasks", "cola", "--devices", "cpu", "--output_dir", "a.csv/b"
    )
    assert started(stub) == []


def test_a_recipe_that_uploads_is_refused_with_the_flag_that_turns_it_off(stub, capsys):
    (stub / "mine.yaml").write_text("train_file: a.csv\nmodel_name_or_path: b\npush_to_hub: true\n", encoding="utf-8")
    words = ("--configs", "mine.yaml", "--seeds", "1", "--devices", "cpu")
    assert "Leave it out, or pass --no_push_to_hub where a recipe has it;" in refusal(capsys, *words)
    assert started(stub) == []
    assert run(*words, "--no_push_to_hub") == 0


def recipes_in(path: Path) -> list[str]:
    return [row["recipe"] for row in json.loads(path.read_text(encoding="utf-8"))]


def test_suites_in_one_folder_keep_each_others_rows_while_their_runs_are_there(stub, capsys):
    words = ("--seeds", "2", "--devices", "cpu", "--format", "json", "--tasks")
    assert run(*words, "cola", "rte") == 0
    before = json.loads(capsys.readouterr().out)
    assert run(*words, "mrpc") == 0
    assert [row["recipe"] for row in json.loads(capsys.readouterr().out)] == ["mrpc"], "what was asked for"
    written = json.loads((stub / "runs/suite/suite.json").read_text())
    assert written[:2] == before and written[2]["recipe"] == "mrpc"
    for ending in ("csv", "md"):
        text = (stub / f"runs/suite/suite.{ending}").read_text(encoding="utf-8")
        assert all(name in text for name in ("cola", "rte", "mrpc"))
    shutil.rmtree(stub / "runs/suite/rte")
    assert run("--seeds", "3", "--devices", "cpu", "--tasks", "cola") == 0
    assert recipes_in(stub / "runs/suite/suite.json") == ["mrpc", "cola"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("suite.md", "my notes"),
        ("suite.json", "{"),
        ("suite.json", '{"tests": []}'),
        ("suite.json", '["a test"]'),
        ("suite.json", '[{"recipe": "of an earlier version"}]'),
        ("learning_curve.png", "mine"),
    ],
)
def test_files_that_no_suite_has_written_are_refused_before_anything_starts(stub, capsys, name, text):
    file = stub / "runs/suite" / name
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    words = ("--tasks", "cola", "--seeds", "1", "--devices", "cpu", "--train_sizes", "100")
    assert refusal(capsys, *words) == (
        f"error: runs/suite holds {name} of another program or version, which would be overwritten. "
        "Move them elsewhere, or name another --output_dir."
    )
    assert started(stub) == [] and file.read_text(encoding="utf-8") == text
    assert run(*words[:-2], "--output_dir", "other") == 0
    file.rename(stub / name)
    assert run(*words[:-2]) == 0


def test_nsp_recipes_run_their_own_script(stub):
    options, words = suite.parser.parse_known(
        ["--configs", "nsp/meditations", "demo/cola", "--seeds", "1"], suite.SuiteArguments, ""
    )
    planned = suite.plan(options, words)
    assert {name: some[0].script.name for name, some in planned.items()} == {
        "meditations": "run_nsp.py",
        "demo/cola": "run_classification.py",
    }
    assert planned["demo/cola"][0].folder == Path("runs/suite/demo/cola/seed1")


def test_every_visible_gpu_is_used_by_the_name_it_goes_by(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    places = jobs.slots([], 2)
    assert [place.device for place in places] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert [place.environment for place in places[:2]] == [
        {"CUDA_VISIBLE_DEVICES": "5"},
        {"CUDA_VISIBLE_DEVICES": "7"},
    ]
    assert [place.environment for place in jobs.slots(["1"], 1)] == [{"CUDA_VISIBLE_DEVICES": "7"}]
    assert jobs.slots(["cpu"], 1)[0].environment == {"CUDA_VISIBLE_DEVICES": ""}
    with pytest.raises(UserError, match=r"There is cuda:0, cuda:1, cpu\."):
        jobs.slots(["cuda:2"], 1)


def test_a_learning_curve_trains_on_nested_samples(stub, capsys):
    words = ["--tasks", "cola", "--seeds", "2", "--devices", "cpu", "--train_sizes", "100", "300", "all"]
    assert run(*words, "--print_commands") == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 6
    assert "--max_train_samples 100 --shuffle_train_dataset true" in commands[0]
    assert "cola/train100/seed1" in commands[0]
    assert "max_train_samples" not in commands[5] and "cola/trainall/seed2" in commands[5]
    assert "--train_sizes: 'many' is no number of rows. Write" in refusal(capsys, *words[:-1], "many")
    assert "--streaming cannot be used with --train_sizes. Leave" in refusal(capsys, *words, "--streaming")
    assert "Write the numbers of rows after --train_sizes." in refusal(capsys, *words, "--max_train_samples", "9")


def test_a_learning_curve_of_pairs_takes_samples_as_run_nsp_does(stub, capsys):
    (stub / "m.txt").write_text("One. Two.", encoding="utf-8")
    words = ["--configs", "nsp/meditations", "--seeds", "1", "--text", "m.txt", "--train_sizes", "100", "all"]
    assert run(*words, "--print_commands") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "run_nsp.py" in first and "--max_train_samples 100 --seed 1" in first
    assert "max_train_samples" not in second


def test_what_more_rows_bring_is_drawn_and_said(tmp_path, capsys):
    from bertlab.commands import learning_curve

    def row(recipe, metric, mean):
        interval = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}
        return SimpleNamespace(recipe=recipe, metric=metric, n=2, **interval)

    finished = {
        f"{name}/{part}": [SimpleNamespace(data={split: {"rows": rows}}, configuration={"train_split_name": split})]
        for name, split in (("cola", "train"), ("rte", "train_clean"))
        for part, rows in (("train100", 100), ("trainall", 400))
    }
    table = [row("cola/train100", "matthews_correlation", 0.1), row("cola/trainall", "matthews_correlation", 0.3)]
    table += [row("rte/train100", "accuracy", 0.5), row("rte/trainall", "accuracy", 0.6)]
    learning_curve.write(tmp_path, table, finished)
    printed = capsys.readouterr().out
    assert "cola: 100 to 400 training rows changed matthews_correlation by +0.200, +0.100 for each doubling" in printed
    assert "rte: 100 to 400 training rows changed accuracy by +0.100, +0.050 for each doubling." in printed
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
