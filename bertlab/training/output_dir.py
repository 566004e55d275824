"""The output folder of a run: whose it is, whether it may be written, where training goes on from."""

import shutil
import tempfile
from pathlib import Path

from bertlab.cli.arguments import RunArguments
from bertlab.console import info, is_first_process
from bertlab.errors import UserError, nearest
from bertlab.training import checkpoints, output_lock
from bertlab.training.checkpoints import CHECKPOINT

# What a run of ours leaves behind: all that --overwrite_output_dir deletes, whatever else lies in the folder.
ARTEFACTS = (
    *("config.json", "model.safetensors", "training_args.bin", "trainer_state.json"),
    *("adapter_config.json", "adapter_model.safetensors", "base_config"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json"),
    *("all_results.json", "train_results.json", "eval_results.json", "test_results.json"),
    *("results.json", "run.json", "README.md", "report.html", "predictions", "errors", "plots"),
    *("onnx", "onnx-int8"),
)
# What another program's Trainer leaves beside its model, and no run of ours.
OF_ANOTHER_TRAINER = "training_args.bin"
# What only a run of ours or an earlier Trainer has written.
MARKS = (OF_ANOTHER_TRAINER, "trainer_state.json", "run.json")
# The file that is written last.
FINISHED = "run.json"


def find_checkpoint(folder: Path, run: RunArguments, model: str | None = None) -> Path | None:
    """Return the checkpoint to continue from, or None to start anew; nothing is touched.

    `model` is --model_name_or_path: a run may not delete what it is to start from.

    Raises:
        UserError: another run has the folder, it has content and nobody said what to do with it, what would be
            deleted or written over is no earlier run, or there is nothing to resume.
    """
    try:
        is_file = folder.exists() and not folder.is_dir()
    except OSError as error:
        raise UserError(f"--output_dir {folder}: {error.strerror}.", "Name another folder.") from error
    if is_file:
        raise UserError(f"--output_dir {folder} is a file.", "Name a folder.")
    output_lock.refuse_if_taken(folder)
    # The state is this run's own, made by a process that was quicker than this one, or left by one that was killed.
    found = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    content = sorted(name for name in found if name != output_lock.STATE)
    if run.resume != "never":
        return _named_or_newest(folder, run.resume, content)
    if content and not run.overwrite_output_dir:
        raise UserError(
            f"--output_dir {folder} is not empty ({', '.join(content[:4])}{' …' if len(content) > 4 else ''}).",
            "Continue it with --resume auto, replace it with --overwrite_output_dir, or name another folder.",
        )
    if content and model is not None and Path(model).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--overwrite_output_dir would delete the model of this run, {model}.", "Name another folder.")
    if not _is_run(folder):
        _refuse_foreign("--overwrite_output_dir", folder, content)
    return None


def needs_mark(folder: Path) -> bool:
    """Return True where a run that did not finish left files that do not show by themselves whose they are."""
    return any(any(folder.glob(name)) for name in ARTEFACTS) and not _shows_a_run(folder)


def make(folder: Path, run: RunArguments) -> None:
    """Make and take the output folder, and delete an earlier run in it if --overwrite_output_dir says so.

    Called once data and model are known to be good: nothing is lost to a misspelt file name. The folder is this
    run's alone until `lock.release`.

    Raises:
        UserError: the folder cannot be written, or another run has taken it meanwhile.
    """
    # Every process of a run comes here at once: one of them takes and deletes, each tries a file of its own name.
    make_writable(folder)
    try:
        output_lock.take(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if run.overwrite_output_dir and is_first_process():
        _delete_earlier_run(folder)


def make_writable(folder: Path) -> None:
    """Make a folder, and see that files can be written in it.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"--output_dir {folder} cannot be written: {error.strerror}.", "Name another folder.")


def _named_or_newest(folder: Path, resume: str, content: list[str]) -> Path | None:
    if (folder / FINISHED).is_file():
        raise UserError(f"{folder} holds a finished run; there is nothing to resume.", "Use --overwrite_output_dir.")
    if resume not in ("auto", "must"):
        return _named_checkpoint(folder, resume, content)
    newest = checkpoints.newest_whole(folder)
    if newest is None and resume == "must":
        raise UserError(f"--resume must: no checkpoint in {folder}.", "--resume auto starts anew where there is none.")
    # A run that starts anew would write over a model that another program trained.
    if newest is None and (not _is_run(folder) or (folder / OF_ANOTHER_TRAINER).is_file()):
        _refuse_foreign(f"--resume {resume}", folder, content)
    if newest is not None:
        info(f"going on from {newest}.")
    return newest


def _named_checkpoint(folder: Path, resume: str, content: list[str]) -> Path:
    path = Path(resume)
    wrong = checkpoints.validate_checkpoint(path)
    if wrong is not None:
        near = nearest(resume, ("never", "auto", "must"))
        meant = f" Did you mean {near!r}?" if near is not None and not path.exists() else ""
        found = ", ".join(map(str, checkpoints.numbered(folder))) or "none in --output_dir"
        raise UserError(f"--resume {resume}: {wrong}.", f"Checkpoints: {found}.{meant}")
    held = [name for name in content if name in ARTEFACTS or CHECKPOINT.fullmatch(name)]
    if held and path.resolve().parent != folder.resolve():
        raise UserError(
            f"--resume {resume}: {folder} holds something else ({', '.join(held[:4])}), which would be lost.",
            "Go on with that by --resume auto, or name another --output_dir.",
        )
    return path


def _refuse_foreign(flag: str, folder: Path, content: list[str]) -> None:
    foreign = [name for name in content if name in ARTEFACTS]
    if foreign:
        raise UserError(
            f"{flag}: {folder} holds no earlier run, and {', '.join(foreign[:4])} would be lost.",
            "Name another folder.",
        )


def _is_run(folder: Path) -> bool:
    return (folder / output_lock.STATE).is_dir() or _shows_a_run(folder)


def _shows_a_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MARKS) or any(folder.glob("checkpoint-*"))


def _delete_earlier_run(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in ARTEFACTS or CHECKPOINT.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
