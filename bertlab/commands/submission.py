"""`python -m bertlab submission RUN …`: the GLUE server's files from the predictions of finished runs."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertlab.cli.arguments import setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.console import say, table
from bertlab.errors import UserError
from bertlab.io import write_bytes
from bertlab.report.run_folder import Predictions, RunFolder

NLI = ("entailment", "neutral", "contradiction")
TWO_WAY_NLI = ("entailment", "not_entailment")
# The oldest time a zip archive can hold: the same predictions make the same bytes on any day.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ServerFile:
    """One file of a submission: whose test split it is, how many rows that has, what its classes are called.

    `names` maps our class names to the server's; none are needed where the prediction is a number. The sizes are
    those of the splits of nyu-mll/glue, which are GLUE's own.
    """

    task: str
    split: str
    rows: int
    names: dict[str, str]


def _numbered(*names: str) -> dict[str, str]:
    return {name: str(index) for index, name in enumerate(names)}


def _same(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


FILES: dict[str, ServerFile] = {
    "CoLA.tsv": ServerFile("cola", "test", 1063, _numbered("unacceptable", "acceptable")),
    "SST-2.tsv": ServerFile("sst2", "test", 1821, _numbered("negative", "positive")),
    "MRPC.tsv": ServerFile("mrpc", "test", 1725, _numbered("not_equivalent", "equivalent")),
    "STS-B.tsv": ServerFile("stsb", "test", 1379, {}),
    "QQP.tsv": ServerFile("qqp", "test", 390_965, _numbered("not_duplicate", "duplicate")),
    "MNLI-m.tsv": ServerFile("mnli", "test_matched", 9796, _same(NLI)),
    "MNLI-mm.tsv": ServerFile("mnli", "test_mismatched", 9847, _same(NLI)),
    "QNLI.tsv": ServerFile("qnli", "test", 5463, _same(TWO_WAY_NLI)),
    "RTE.tsv": ServerFile("rte", "test", 3000, _same(TWO_WAY_NLI)),
    "WNLI.tsv": ServerFile("wnli", "test", 146, _numbered("not_entailment", "entailment")),
    "AX.tsv": ServerFile("ax", "test", 1104, _same(NLI)),
}
TASKS = tuple(dict.fromkeys(file.task for file in FILES.values()))
# What --data_layout of GLUE's recipes begins with.
LAYOUT = "glue/"
LOWEST, HIGHEST = 0.0, 5.0


@dataclass
class SubmissionArguments:
    """Which runs are packed, and where to."""

    runs: list[Path] = setting(None, "the --output_dir of each finished GLUE run", positional=True)
    output: Path = setting(Path("submission.zip"), "the file to write")
    overwrite: bool = setting(False, "replace the file if it exists")


@entry_point
def main(argv: Sequence[str]) -> int:
    """Write the zip file, say what is in it and what is missing, and return the exit status.

    Raises:
        UserError: a folder is no finished GLUE run with predictions for every test row, two are of one task, or the
            output is there already.
    """
    options = parse_command(argv, SubmissionArguments, __doc__)
    _check_output(options.output, options.overwrite)
    runs = by_task([RunFolder.read(path) for path in options.runs])
    contents = {name: server_file(runs[file.task], name) for name, file in FILES.items() if file.task in runs}
    write_bytes(options.output, zipped(contents))
    _print(contents, runs, options.output)
    return 0


def by_task(runs: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """Return the runs by GLUE task.

    Raises:
        UserError: a run is of no GLUE task, or two are of the same.
    """
    found: dict[str, RunFolder] = {}
    for run in runs:
        name = task(run)
        if name in found:
            raise UserError(
                f"{found[name].path} and {run.path} are both runs of {name}.", "The server takes one file a task."
            )
        found[name] = run
    return found


def task(run: RunFolder) -> str:
    """Return the GLUE task of a run, which its recipe's --data_layout names.

    Raises:
        UserError: it is of no GLUE task.
    """
    layout = str(run.configuration.get("data_layout") or "")
    name = layout.removeprefix(LAYOUT)
    if not layout.startswith(LAYOUT) or name not in TASKS:
        recipe = run.run.get("recipe")
        raise UserError(
            f"{run.path} is no run of a GLUE task" + (f", but of {recipe}." if recipe else "."),
            f"Train with --task {', '.join(TASKS[:-1])} or {TASKS[-1]}.",
        )
    return name


def server_file(run: RunFolder, name: str) -> str:
    """Return the content of one of FILES, `index` and `prediction` with a tab between, from a run of its task.

    Predictions hold the row's number in the test split, which is GLUE's `index`: it counts from 0 in the order of
    the file, on the Hub as in the download.

    Raises:
        UserError: the run has no predictions for the split, not for every row, or of other classes.
    """
    file = FILES[name]
    found = _predictions(run, file)
    _check_rows(run, file, found)
    lines = (f"{row}\t{_said(run, file, row, text)}\n" for row, text in enumerate(found.predictions))
    return "index\tprediction\n" + "".join(lines)


def zipped(contents: dict[str, str]) -> bytes:
    """Return a zip archive of files by name: the same bytes for the same contents."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever this runs: the byte is part of the archive
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content.encode("ascii"))
    return stream.getvalue()


def _predictions(run: RunFolder, file: ServerFile) -> Predictions:
    most = run.configuration.get("max_predict_samples")
    if most is not None:
        raise UserError(
            f"{run.path} predicted its first {most} test rows only (--max_predict_samples).",
            "The server wants every row: run it again without that flag.",
        )
    if file.split not in run.results["splits"]:
        there = ", ".join(run.results["splits"]) or "nothing"
        raise UserError(
            f"{run.path} has no predictions for {file.split}, only for {there}.",
            "Run it again with --do_predict on data with that split.",
        )
    return run.predictions(file.split)


def _check_rows(run: RunFolder, file: ServerFile, found: Predictions) -> None:
    path = f"{run.path / 'predictions' / file.split}.tsv"
    if len(found.idx) != file.rows:
        dropped = (run.run.get("data") or {}).get(file.split, {}).get("dropped", 0)
        why = f"; {dropped:,} without text were left out" if dropped else ""
        raise UserError(
            f"{path} has {len(found.idx):,} rows and GLUE's {file.task} {file.split} has {file.rows:,}{why}.",
            "Predict the split as GLUE gives it.",
        )
    wrong = next((row for row, index in enumerate(found.idx) if index != str(row)), None)
    if wrong is not None:
        raise UserError(
            f"{path}, row {wrong + 1}: idx is {found.idx[wrong]!r} and not {wrong}, so rows are missing or moved.",
            "Predict the split as GLUE gives it.",
        )


def _said(run: RunFolder, file: ServerFile, row: int, text: str) -> str:
    """Return a prediction as the server writes it."""
    where = f"{run.path / 'predictions' / file.split}.tsv, row {row + 1}"
    if file.names:
        if text not in file.names:
            raise UserError(
                f"{where}: the class {text!r} is none of {file.task}'s, {', '.join(file.names)}.",
                f"Train with --task {file.task}.",
            )
        return file.names[text]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        raise UserError(f"{where}: {text!r} is not a number.", f"Train with --task {file.task}.")
    return f"{min(max(value, LOWEST), HIGHEST):.4f}"


def _check_output(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise UserError(f"--output {path} is a folder.", "Name a file, for example submission.zip.")
    if path.exists() and not overwrite:
        raise UserError(f"--output {path} is there already.", "Name another file, or pass --overwrite.")


def _print(contents: dict[str, str], runs: dict[str, RunFolder], output: Path) -> None:
    rows = [(name, FILES[name].rows, str(runs[FILES[name].task].path)) for name in contents]
    say(table(rows, ("file", "rows", "run")))
    missing = [name for name in FILES if name not in contents]
    if missing:
        say(
            f"\nMissing: {', '.join(missing)}. The server asks for every file, and no predictions were made up "
            "for these."
        )
    say(f"\n{len(contents)} of {len(FILES)} files are in {output}")
