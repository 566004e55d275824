"""The output folder of a run: whose it is, whether it may be written, which checkpoint a run resumes from."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bertlab.cli.arguments import RunArguments
from bertlab.console import info, is_first_process
from bertlab.errors import UserError, nearest
from bertlab.training import checkpoints, output_lock
from bertlab.training.checkpoints import CHECKPOINT

# What a run of ours writes: all that --overwrite_output_dir deletes, whatever else is in the folder.
ARTEFACTS = (
    *("config.json", "model.safetensors", "training_args.bin", "trainer_state.json"),
    *("adapter_config.json", "adapter_model.safetensors", "base_config"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json"),
    *("all_results.json", "train_results.json", "eval_results.json", "test_results.json"),
    *("results.json", "run.json", "README.md", "report.html", "predictions", "misclassified", "errors", "plots"),
    *("onnx", "onnx-int8", ".eval_results"),
)
# What another program's Trainer leaves beside its model, and no run of ours.
OF_ANOTHER_TRAINER = "training_args.bin"
# What only a run of ours or an earlier Trainer has written.
MARKS = (OF_ANOTHER_TRAINER, "trainer_state.json", "run.json")
# The file that is written last.
FINISHED = "run.json"


def find_checkpoint(folder: Path, run: RunArguments, model: str | None = None) -> Path | None:
    """Return the checkpoint to resume from, or None to start from the beginning; nothing is touched.

    `model` is --model_name_or_path: a run may not delete what it is to start from.

    Raises:
        UserError: another run holds the folder, it has content and no flag says what to do with it, what would be
            deleted or written over is no earlier run, or there is nothing to resume.
    """
    content = _content(folder)
    output_lock.refuse_if_locked(folder)
    if run.resume != "never":
        return _named_or_newest(folder, run.resume, content)
    if content and not run.overwrite_output_dir:
        raise _occupied(folder, content)
    if content and model is not None and Path(model).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--overwrite_output_dir would delete the model of this run, {model}.", "Name another folder.")
    if not _is_run(folder):
        _refuse_foreign("--overwrite_output_dir", folder, content)
    return None


def _occupied(folder: Path, content: list[str]) -> UserError:
    """Return the refusal of a folder that holds something, with the name of one that is free."""
    first = folder if folder.name.strip(".") else Path("runs") / "run"  # . or / names no sibling
    numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    free = next(path for path in numbered if not path.exists())
    other = f"For a second run pass --output_dir {free}"
    if (folder / FINISHED).is_file():
        return UserError(f"{folder} holds a finished run.", f"{other}; --overwrite_output_dir replaces the first.")
    shown = f"{', '.join(content[:4])}{' …' if len(content) > 4 else ''}"
    return UserError(
        f"--output_dir {folder} is not empty ({shown}).",
        f"--resume auto continues a run that was stopped, --overwrite_output_dir replaces it. {other}.",
    )


@contextlib.contextmanager
def claimed(folder: Path, run: RunArguments) -> Iterator[None]:
    """Hold an output folder while the block lasts; delete an earlier run if --overwrite_output_dir says so.

    For once all that may be refused was: nothing is lost to a misspelt file name or a model that fails.

    Raises:
        UserError: another run holds it by now.
    """
    with output_lock.locked(folder):
        if run.overwrite_output_dir and is_first_process():
            _delete_earlier_run(folder)
        yield


def make_writable(folder: Path, flag: str = "--output_dir") -> None:
    """Make the folder of a flag, and see that files can be written there; all processes of a run may do so at once.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{flag} {folder} cannot be written: {error.strerror}.", "Name another folder.") from error


def _content(folder: Path) -> list[str]:
    """Return the names in a folder but that of the state, which a killed run left or a quicker process made."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.name != output_lock.STATE)
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise UserError(f"--output_dir {folder} is not a folder.", "Name a folder.") from error
    except OSError as error:
        raise UserError(f"--output_dir {folder}: {error.strerror}.", "Name another folder.") from error


def _named_or_newest(folder: Path, resume: str, content: list[str]) -> Path | None:
    if (folder / FINISHED).is_file():
        raise UserError(
            f"{folder} holds a finished run; there is nothing to resume.",
            "Pass --overwrite_output_dir instead.",
        )
    if resume not in ("auto", "must"):
        return _named_checkpoint(folder, resume, content)
    newest = checkpoints.newest_complete(folder)
    if newest is not None:
        info(f"resuming from {newest}.")
        return newest
    if resume == "must":
        raise UserError(
            f"--resume must: no checkpoint in {folder}.", "--resume auto starts from the beginning where there is none."
        )
    # A run that starts from the beginning would write over a model that another program trained.
    if not _is_run(folder) or (folder / OF_ANOTHER_TRAINER).is_file():
        _refuse_foreign(f"--resume {resume}", folder, content)
    return None


def _named_checkpoint(folder: Path, resume: str, content: list[str]) -> Path:
    path = Path(resume)
    problem = checkpoints.validate_checkpoint(path)
    if problem is not None:
        near = nearest(resume, ("never", "auto", "must"))
        meant = f" Did you mean {near!r}?" if near is not None and not path.exists() else ""
        there = ", ".join(map(str, checkpoints.numbered(folder)))
        hint = f"Checkpoints: {there}." if there else f"{folder} has no checkpoint; without --resume the run begins."
        raise UserError(f"--resume {resume}: {problem}.", hint + meant)
    held = [name for name in content if name in ARTEFACTS or CHECKPOINT.fullmatch(name)]
    if held and path.resolve().parent != folder.resolve():
        auto = ", or resume that with --resume auto" if checkpoints.newest_complete(folder) else ""
        raise UserError(
            f"--resume {resume}: {folder} holds something else ({', '.join(held[:4])}), which would be lost.",
            f"Name another --output_dir{auto}.",
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
    marks = ((folder / name).is_file() for name in MARKS)
    return (folder / output_lock.STATE).is_dir() or any(marks) or bool(checkpoints.numbered(folder))


def _delete_earlier_run(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in ARTEFACTS or CHECKPOINT.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
