"""bertlab submission: the GLUE server's files from the predictions of finished runs.

bertlab submission runs/cola runs/mnli runs/ax --output submission.zip
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bertlab.cli.arguments import setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.console import say, table
from bertlab.errors import UserError
from bertlab.io import write_bytes
from bertlab.report.run_folder import RunFolder

NLI = {name: name for name in ("entailment", "neutral", "contradiction")}
TWO_WAY_NLI = {name: name for name in ("entailment", "not_entailment")}


def _ids(*names: str) -> dict[str, str]:
    return {name: str(index) for index, name in enumerate(names)}


class ServerFile(NamedTuple):
    """One file of a submission: of which test split it is, how many rows that has, what the server calls our classes.

    Numbers have no names. The sizes are those of the splits of nyu-mll/glue, which are GLUE's own.
    """

    task: str
    split: str
    rows: int
    names: dict[str, str]


FILES: dict[str, ServerFile] = {
    "CoLA.tsv": ServerFile("cola", "test", 1063, _ids("unacceptable", "acceptable")),
    "SST-2.tsv": ServerFile("sst2", "test", 1821, _ids("negative", "positive")),
    "MRPC.tsv": ServerFile("mrpc", "test", 1725, _ids("not_equivalent", "equivalent")),
    "STS-B.tsv": ServerFile("stsb", "test", 1379, {}),
    "QQP.tsv": ServerFile("qqp", "test", 390_965, _ids("not_duplicate", "duplicate")),
    "MNLI-m.tsv": ServerFile("mnli", "test_matched", 9796, NLI),
    "MNLI-mm.tsv": ServerFile("mnli", "test_mismatched", 9847, NLI),
    "QNLI.tsv": ServerFile("qnli", "test", 5463, TWO_WAY_NLI),
    "RTE.tsv": ServerFile("rte", "test", 3000, TWO_WAY_NLI),
    "WNLI.tsv": ServerFile("wnli", "test", 146, _ids("not_entailment", "entailment")),
    "AX.tsv": ServerFile("ax", "test", 1104, NLI),
}
TASKS = tuple(dict.fromkeys(file.task for file in FILES.values()))
LOWEST, HIGHEST = 0.0, 5.0


@dataclass
class SubmissionArguments:
    """Which runs are packed, and where to."""

    runs: list[Path] = setting(None, "the --output_dir of each finished GLUE run", positional=True)
    output: Path = setting(Path("submission.zip"), "the file to write")
    overwrite: bool = setting(False, "replace the file if it exists")


@entry_point
def main(argv: Sequence[str]) -> int:
    """Write the zip file, list its files and those that are missing, and return the exit status.

    Raises:
        UserError: a folder is no finished GLUE run with predictions for every test row, two are of one task, or the
            output exists.
    """
    options = parse_command(argv, SubmissionArguments, __doc__)
    output = options.output
    if output.exists() and not options.overwrite:
        raise UserError(f"--output {output} exists.", "Name another file, or pass --overwrite.")
    runs = by_task([RunFolder.read(path) for path in options.runs])
    contents = {name: server_file(runs[file.task], file) for name, file in FILES.items() if file.task in runs}
    write_bytes(output, zipped(contents))
    rows = [(name, FILES[name].rows, str(runs[FILES[name].task].path)) for name in contents]
    say(table(rows, ("file", "rows", "run")))
    missing = [name for name in FILES if name not in contents]
    if missing:
        say(f"\nMissing: {', '.join(missing)}. The server asks for every file; none is made up.")
    say(f"\n{len(contents)} of {len(FILES)} files are in {output}")
    return 0


def by_task(runs: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """Return the runs by GLUE task, which the recipe's --data_layout names.

    Raises:
        UserError: a run is of no GLUE task, or two are of the same.
    """
    found: dict[str, RunFolder] = {}
    for run in runs:
        task = str(run.configuration.get("data_layout")).removeprefix("glue/")
        if task not in TASKS:
            raise UserError(
                f"{run.path} is no run of a GLUE task.", f"Train with --task {', '.join(TASKS[:-1])} or {TASKS[-1]}."
            )
        if task in found:
            raise UserError(
                f"{found[task].path} and {run.path} are both runs of {task}.", "The server takes one file a task."
            )
        found[task] = run
    return found


def server_file(run: RunFolder, file: ServerFile) -> str:
    """Return the content of a file, `index` and `prediction` with a tab between, from a run of its task.

    Predictions hold the row's number in the test split, which is GLUE's `index`: it counts from 0 in the order of
    the file, on the Hub as in the download.

    Raises:
        UserError: the run has no predictions for the split, not for every row, or of other classes.
    """
    splits = run.results["splits"]
    if file.split not in splits:
        raise UserError(
            f"{run.path} has no predictions for {file.split}, only for {', '.join(splits) or 'nothing'}.",
            "Run it again with --do_predict on data with that split.",
        )
    predictions, path = run.predictions(file.split), f"{run.path / 'predictions' / file.split}.tsv"
    if predictions.idx != [str(row) for row in range(file.rows)]:
        dropped = run.data.get(file.split, {}).get("dropped", 0)
        raise UserError(
            f"{path} has {len(predictions.idx):,} rows and not GLUE's of {file.task} {file.split}, 0 to "
            f"{file.rows - 1:,} in order{f'; {dropped:,} without text were left out' if dropped else ''}.",
            "Predict the split as GLUE gives it, without --max_predict_samples.",
        )
    values = (_server_value(file, text, f"{path}, row {row}") for row, text in enumerate(predictions.predictions, 1))
    return "index\tprediction\n" + "".join(f"{row}\t{value}\n" for row, value in enumerate(values))


def zipped(contents: dict[str, str]) -> bytes:
    """Return a zip archive of files by name: the same bytes for the same contents."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            # Without a time of its own an entry is of 1980.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _server_value(file: ServerFile, text: str, where: str) -> str:
    """Return a prediction as the server writes it."""
    if file.names:
        if text not in file.names:
            raise UserError(
                f"{where}: the class {text!r} is none of {file.task}'s, {', '.join(file.names)}.",
                f"Train with --task {file.task}.",
            )
        return file.names[text]
    # The prediction of a model that diverged is empty.
    if not text:
        raise UserError(f"{where}: there is no number.", f"Train with --task {file.task}.")
    return f"{min(max(float(text), LOWEST), HIGHEST):.4f}"
