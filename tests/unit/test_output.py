"""Whose an output folder is, where a run resumes from, and that files which are not a run's stay untouched."""

import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.errors import UserError
from bertlab.training import output_dir, output_lock


def run(**settings) -> RunArguments:
    return RunArguments(**settings)


def refusal(folder: Path, **settings) -> str:
    with pytest.raises(UserError) as caught:
        output_dir.find_checkpoint(folder, run(**settings))
    return str(caught.value)


def checkpoint(folder: Path, step: int, state: str = '{"global_step": 1}', weights: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(state)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        zipfile.ZipFile(path / name, "w").close()
    if weights:
        (path / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    return path


def finished_run(folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "training_args.bin", "run.json", "README.md"):
        (folder / name).touch()
    (folder / "predictions").mkdir()
    (folder / "predictions" / "test.tsv").touch()
    checkpoint(folder, 10)


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        (["--task", "cola"], "runs/cola"),
        (["--task", "cola", "--output_dir", "elsewhere"], "elsewhere"),
        (["--config", "configs/demo/cola.yaml"], "runs/demo/cola"),
        (["--train_file", "data/reviews.csv.gz"], "runs/reviews"),
        (["--dataset_name", "nyu-mll/glue"], "runs/glue"),
        ([], "runs/run"),
        (["--task", "rte", "--config", "configs/presets/stable.yaml"], "runs/rte-stable"),
        (["--config", "configs/presets/stable.yaml", "--config", "configs/demo/cola.yaml"], "runs/demo/cola-stable"),
        (["--config", "configs/presets/stable.yaml", "--train_file", "reviews.csv"], "runs/reviews-stable"),
    ],
)
def test_the_folder_follows_the_flags(argv, folder, monkeypatch):
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    arguments = parser.parse(argv, (DataArguments, ModelArguments, RunArguments), "usage")
    assert Path(arguments.training["output_dir"]) == Path(folder)


@pytest.mark.parametrize("resume", ["never", "auto"])
def test_a_new_or_empty_folder_is_free(tmp_path, resume):
    assert output_dir.find_checkpoint(tmp_path, run(resume=resume)) is None
    assert output_dir.find_checkpoint(tmp_path / "new", run(resume=resume)) is None
    assert not (tmp_path / "new").exists()


def test_a_folder_with_content_is_refused_with_the_ways_out(tmp_path):
    for name in "abcde":
        (tmp_path / name).touch()
    assert refusal(tmp_path) == (
        f"--output_dir {tmp_path} is not empty (a, b, c, d …). --resume auto continues a run that was stopped, "
        f"--overwrite_output_dir replaces it. For a second run pass --output_dir {tmp_path}-2."
    )


def test_beside_a_finished_run_the_first_free_name_is_offered(tmp_path):
    for folder in ("small", "small-2", "small-4"):
        (tmp_path / folder).mkdir()
    (tmp_path / "small" / "run.json").touch()
    assert refusal(tmp_path / "small") == (
        f"{tmp_path}/small holds a finished run. For a second run pass --output_dir {tmp_path}/small-3; "
        "--overwrite_output_dir replaces the first."
    )


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert refusal(folder) == f"--output_dir {folder} is not a folder. Name a folder."


def test_overwriting_deletes_an_earlier_run_and_nothing_else(tmp_path):
    finished_run(tmp_path)
    foreign = {"notes.txt", "checkpoint-best", "checkpoint-best/x", "src", "src/config.json"}
    for name in ("notes.txt", "checkpoint-best/x", "src/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    overwrite = run(overwrite_output_dir=True)
    before = contents(tmp_path)
    assert output_dir.find_checkpoint(tmp_path, overwrite) is None
    assert contents(tmp_path) == before
    with output_dir.claimed(tmp_path, overwrite):
        pass
    assert contents(tmp_path) == foreign


@pytest.mark.parametrize("names", [["README.md"], ["config.json", "model.safetensors"], ["errors", "src"]])
def test_overwriting_refuses_files_of_the_same_name_that_no_run_wrote(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    error = refusal(tmp_path, overwrite_output_dir=True)
    assert error.startswith(f"--overwrite_output_dir: {tmp_path} holds no earlier run, and {names[0]}")
    assert error.endswith("would be lost. Name another folder.")


def test_making_a_folder_leaves_no_trace_and_keeps_a_run_that_is_resumed(tmp_path):
    with output_dir.claimed(tmp_path / "a" / "b", run()):
        finished_run(tmp_path / "a" / "b")
    before = contents(tmp_path)
    assert "a/b/run.json" in before and "a/b/_bertlab" not in before
    with output_dir.claimed(tmp_path / "a" / "b", run(resume="auto")):
        pass
    assert contents(tmp_path) == before


def test_processes_that_make_the_same_folder_at_once_do_not_trip_over_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: output_dir.make_writable(tmp_path / "run"), range(400)))
    assert contents(tmp_path) == {"run"}


def test_only_the_first_process_deletes_an_earlier_run(tmp_path, monkeypatch):
    finished_run(tmp_path)
    monkeypatch.setenv("RANK", "1")
    before = contents(tmp_path)
    with output_dir.claimed(tmp_path, run(overwrite_output_dir=True)):
        assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    folder = tmp_path / "file" / "run"
    folder.parent.touch()
    with pytest.raises(UserError) as caught:
        output_dir.make_writable(folder)
    assert str(caught.value) == f"--output_dir {folder} cannot be written: Not a directory. Name another folder."


def test_resuming_takes_the_newest_complete_checkpoint(tmp_path, capsys):
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 100)
    checkpoint(tmp_path, 200, state='{"global_st')
    checkpoint(tmp_path, 300, weights=False)
    (tmp_path / "checkpoint-best").mkdir()
    assert output_dir.find_checkpoint(tmp_path, run(resume="auto")) == newest
    assert capsys.readouterr().err == (
        f"warning: {tmp_path / 'checkpoint-300'} is incomplete (it has no weights) and is skipped.\n"
        f"warning: {tmp_path / 'checkpoint-200'} is incomplete (trainer_state.json is corrupt) and is skipped.\n"
        f"info: resuming from {newest}.\n"
    )
    named = tmp_path / "checkpoint-9"
    assert output_dir.find_checkpoint(tmp_path, run(resume=str(named))) == named


@pytest.mark.parametrize(
    ("resume", "prepare", "message"),
    [
        (
            "must",
            lambda folder: None,
            "--resume must: no checkpoint in FOLDER. --resume auto starts from the beginning where there",
        ),
        ("atuo", lambda folder: None, "--resume atuo: there is no such folder. FOLDER has no checkpoint; "),
        ("atuo", lambda folder: checkpoint(folder, 5), "Checkpoints: FOLDER/checkpoint-5."),
        (
            "auto",
            finished_run,
            "FOLDER holds a finished run; there is nothing to resume. Pass --overwrite_output_dir instead.",
        ),
    ],
)
def test_what_cannot_be_resumed_is_refused(tmp_path, resume, prepare, message):
    prepare(tmp_path)
    assert message.replace("FOLDER", str(tmp_path)) in refusal(tmp_path, resume=resume)


@pytest.mark.parametrize("how", ["auto", "must", "PATH", "its own"])
def test_a_finished_run_is_never_resumed(tmp_path, how):
    (tmp_path / "old").mkdir()
    finished_run(tmp_path / "old")
    elsewhere = checkpoint(tmp_path / "other", 3)
    resume = {"PATH": str(elsewhere), "its own": str(tmp_path / "old" / "checkpoint-10")}.get(how, how)
    error = refusal(tmp_path / "old", resume=resume)
    assert (
        error
        == f"{tmp_path / 'old'} holds a finished run; there is nothing to resume. Pass --overwrite_output_dir instead."
    )


@pytest.mark.parametrize("name", ["README.md", "predictions", "checkpoint-7"])
def test_a_checkpoint_of_elsewhere_is_not_resumed_over_what_the_folder_holds(tmp_path, name):
    elsewhere = str(checkpoint(tmp_path / "other", 3))
    folder = tmp_path / "run"
    (folder / name).mkdir(parents=True)
    assert refusal(folder, resume=elsewhere) == (
        f"--resume {elsewhere}: {folder} holds something else ({name}), which would be lost. Name another --output_dir."
    )
    assert output_dir.find_checkpoint(tmp_path / "another", run(resume=elsewhere)) == Path(elsewhere)
    (folder / name).rename(folder / "notes")
    assert output_dir.find_checkpoint(folder, run(resume=elsewhere)) == Path(elsewhere)


def test_a_whole_checkpoint_in_the_way_of_another_can_be_resumed(tmp_path):
    mine, elsewhere = checkpoint(tmp_path / "run", 7), checkpoint(tmp_path / "other", 3)
    error = refusal(tmp_path / "run", resume=str(elsewhere))
    assert error.endswith("Name another --output_dir, or resume that with --resume auto.")
    assert output_dir.find_checkpoint(tmp_path / "run", run(resume="auto")) == mine


@pytest.mark.parametrize("names", [["README.md"], ["results.json"], ["predictions", "src"]])
def test_resuming_refuses_files_of_the_same_name_that_no_run_wrote(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    error = refusal(tmp_path, resume="auto")
    assert error == (
        f"--resume auto: {tmp_path} holds no earlier run, and {names[0]} would be lost. Name another folder."
    )


def test_a_model_of_another_program_is_no_run_to_begin_again(tmp_path):
    for name in ("model.safetensors", "trainer_state.json", "training_args.bin"):
        (tmp_path / name).touch()
    assert "model.safetensors, trainer_state.json, training_args.bin would be lost" in refusal(tmp_path, resume="auto")


@pytest.mark.parametrize("left", [[], ["notes.txt"], ["trainer_state.json", "model.safetensors"], ["checkpoint-5"]])
def test_a_run_that_was_stopped_before_a_whole_checkpoint_begins_again(tmp_path, left):
    for name in left:
        (tmp_path / name).mkdir() if name.startswith("checkpoint") else (tmp_path / name).touch()
    assert output_dir.find_checkpoint(tmp_path, run(resume="auto")) is None


def test_a_run_that_only_evaluates_begins_again_where_it_was_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt), output_dir.claimed(tmp_path, run()):
        (tmp_path / "predictions").mkdir()
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"predictions", output_lock.STATE}
    assert output_dir.find_checkpoint(tmp_path, run(resume="auto")) is None
    with output_dir.claimed(tmp_path, run(resume="auto")):
        (tmp_path / "run.json").touch()
    assert contents(tmp_path) == {"predictions", "run.json"}
