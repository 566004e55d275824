"""`python -m bertlab sweep`: search training values on a selection split, then score the best once.

    python -m bertlab sweep configs/sweeps/bert_paper.yaml --task rte
    python -m bertlab sweep my_sweep.yaml --task rte --search tpe --trials 20 --jobs 2

Each trial is a run of its own that only trains, and is judged by the lead metric on rows cut from train
(--selection_fraction, 0.1 where the task has none). The report splits stay closed until all trials have ended; then
the winner's command is run once more, with them, into the folder `winner`. A second call goes on.
"""

import csv
import io
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertlab import console
from bertlab.cli import parser
from bertlab.cli.arguments import dataclass_flags, setting
from bertlab.cli.entry_point import entry_point
from bertlab.commands import jobs, run_specs, search_space, suite, suite_table
from bertlab.commands.run_specs import RunSpec
from bertlab.commands.search_space import Space, Values
from bertlab.commands.suite_table import FinishedRun, Row
from bertlab.console import info, warning
from bertlab.errors import UserError
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.io import read_json, write_json, write_text
from bertlab.training import checkpoints, output_dir

OUTPUT = "runs/sweep"
SELECTION_FRACTION = "0.1"
STAGES = ("do_train", "do_eval", "do_predict")
TRIAL = ("--do_train", "true", "--do_eval", "false", "--do_predict", "false")
WINNER = ("--do_train", "true", "--do_eval", "true", "--do_predict", "true")


@dataclass
class SweepArguments(suite.ManyRunsArguments):
    """How the values of a sweep are searched."""

    search: str = setting(
        "grid",
        "every combination; or random values, or optuna's TPE (both: pip install optuna)",
        choices=("grid", "random", "tpe"),
    )
    trials: int | None = setting(None, "how many trials of --search random or tpe", minimum=1)
    allow_failures: bool = setting(False, "choose among the finished trials although others failed")
    search_seed: int = setting(0, "seed of --search random and tpe", minimum=0, maximum=2**31 - 1)


@dataclass(frozen=True)
class Sweep:
    """What is searched, where, and the words that every trial has."""

    space: Space
    options: SweepArguments
    words: tuple[str, ...]
    recipe: str
    folder: Path

    def trial(self, number: int, values: Values) -> RunSpec:
        """Return the run of one trial."""
        return self._run(values, TRIAL, f"trial{number:03d}")

    def winner(self, values: Values) -> RunSpec:
        """Return the run that trains with the chosen values and opens the report splits."""
        return self._run(values, WINNER, "winner")

    def _run(self, values: Values, stages: Sequence[str], name: str) -> RunSpec:
        chosen = [word for flag, text in values.items() for word in (f"--{flag}", text)]
        return run_specs.plan([*self.words, *chosen, *stages], self.folder / name, "", quiet=True)


@dataclass(frozen=True)
class Trial:
    """One trial and what became of it: its score on the selection split, None while there is none."""

    values: Values
    run: RunSpec
    metric: str | None = None
    score: float | None = None
    seconds: float | None = None


@entry_point
def main(argv: Sequence[str]) -> int:
    """Run the trials that are not finished and then the winner; return 1 if a run did not finish, 130 if stopped."""
    named = [] if not argv or argv[0].startswith("-") else [argv[0]]
    options, words = parser.parse_part(argv[len(named) :], SweepArguments, __doc__ or "")
    if not named:
        raise UserError("which sweep?", "Write python -m bertlab sweep configs/sweeps/bert_paper.yaml --task …")
    sweep = plan(search_space.find(named[0]), options, words)
    try:
        trials, failures = execute(sweep)
        best = _best(trials)
        closed = failures and not options.allow_failures
        if best is not None and not closed:
            failures |= _open(sweep, best)
    except KeyboardInterrupt:
        return suite.stopped()
    rows = _report(sweep)
    for form, ending in suite_table.FILES.items():
        write_text(sweep.folder / f"sweep.{ending}", FORMATS[form](trials, rows))
    print(FORMATS[options.format](trials, rows), end="")
    if closed:
        warning("the report splits stay closed: trials did not finish; --allow_failures chooses among the others.")
    return suite.report(failures)


def plan(path: Path, options: SweepArguments, words: Sequence[str]) -> Sweep:
    """Return a sweep with all its flags known to be good; nothing is touched.

    Raises:
        UserError: the file is no sweep, a flag is swept and given, or the script would refuse a flag.
    """
    _check_search(options)
    for name in run_specs.typed(words):
        if name in STAGES:
            raise UserError(f"--{name}: a sweep's trials train, and its winner is scored.", "Leave it out.")
    own = [flag.name for flag in dataclass_flags(SweepArguments)]
    base = run_specs.plan(words, Path(OUTPUT), "", own)
    space = search_space.read(path, base.script.groups)
    given = [name for name in run_specs.typed(words) if name in space]
    if given:
        raise UserError(f"--{given[0]} is swept in {path} and given as a flag.", "Take it out of one of them.")
    if options.search == "grid":
        search_space.grid(space)
    recipe = parser.run_name(base.arguments)
    folder = Path(options.output_dir or Path(OUTPUT) / path.stem / recipe)
    return Sweep(space, options, (*words, *_selection(base, words)), recipe, folder)


def execute(sweep: Sweep) -> tuple[list[Trial], dict[str, str]]:
    """Run the trials, in rounds where later ones learn from earlier ones; return them and what went wrong.

    Raises:
        UserError: the folder holds trials of another sweep, or the report splits were opened before these trials.
    """
    known = _kept(sweep)
    total = len(search_space.grid(sweep.space)) if sweep.options.search == "grid" else sweep.options.trials or 0
    opened = (sweep.folder / "winner" / output_dir.FINISHED).is_file()
    if opened and len(known) < total:
        raise UserError(
            f"{sweep.folder} has its winner: more trials would choose after the report splits were opened.",
            "Name another --output_dir.",
        )
    if opened:
        return _trials(sweep, known), {}
    places = jobs.slots(sweep.options.devices, sweep.options.jobs)
    output_dir.make_writable(sweep.folder)
    failures = _run_unfinished(_runs(sweep, known), places)
    while len(known) < total:
        before = len(known)
        known += _next(sweep, known, total, len(places))
        runs = _runs(sweep, known)[before:]  # may refuse one, and what was refused is not to be gone on with
        write_json(sweep.folder / "trials.json", known)
        failures |= _run_unfinished(runs, places)
    return _trials(sweep, known), failures


def as_text(trials: Sequence[Trial], rows: Sequence[Row]) -> str:
    """Return the table of trials, best first, and the winner's scores on the report splits."""
    table = console.table([_cells(trial) for trial in _ranked(trials)], _header(trials))
    return f"{table}\n\n" + (f"The best, on the report splits:\n{suite_table.as_text(rows)}" if rows else "")


def as_markdown(trials: Sequence[Trial], rows: Sequence[Row]) -> str:
    """Return the same as Markdown."""
    table = console.markdown(_header(trials), [_cells(trial) for trial in _ranked(trials)])
    return f"{table}\n\n" + (f"The best, on the report splits:\n\n{suite_table.as_markdown(rows)}" if rows else "")


def as_csv(trials: Sequence[Trial], rows: Sequence[Row]) -> str:
    """Return the trials as CSV; the winner's scores are in the other forms and in its folder."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([_header(trials), *(_cells(trial) for trial in _ranked(trials))])
    return stream.getvalue()


def as_json(trials: Sequence[Trial], rows: Sequence[Row]) -> str:
    """Return trials and the winner's scores as JSON."""
    told = [
        {"trial": t.run.folder.name, "values": t.values, "metric": t.metric, "score": t.score, "seconds": t.seconds}
        for t in _ranked(trials)
    ]
    return json.dumps({"trials": told, "winner": json.loads(suite_table.as_json(rows))}, indent=2) + "\n"


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "json": as_json}


def _check_search(options: SweepArguments) -> None:
    if options.search == "grid":
        if options.trials is not None:
            raise UserError("--trials: a grid has as many trials as combinations.", "Add --search random or tpe.")
        return
    if options.trials is None:
        raise UserError(f"--search {options.search} needs to know when to stop.", "Add --trials 20.")
    search_space.import_optuna()


def _selection(base: RunSpec, words: Sequence[str]) -> tuple[str, ...]:
    """Return the flags that give a task without a selection split one."""
    if base.arguments[base.script.groups[0]].selection_fraction:
        return ()
    if "selection_fraction" in run_specs.typed(words):
        raise UserError("--selection_fraction 0 leaves nothing to choose by but what is reported.", "Give it 0.1.")
    info(f"trials are judged on --selection_fraction {SELECTION_FRACTION} of the training rows.")
    return ("--selection_fraction", SELECTION_FRACTION)


def _kept(sweep: Sweep) -> list[Values]:
    """Return the trials that an earlier call planned.

    Raises:
        UserError: they are those of another sweep, or the file cannot be read.
    """
    known = _read_trials(sweep.folder / "trials.json")
    # A search that learns is told of them, and optuna takes no trial from outside its space.
    same = all(search_space.holds(sweep.space, values) for values in known)
    if not same or (known and sweep.options.search == "grid" and known != search_space.grid(sweep.space)):
        raise UserError(f"{sweep.folder} holds the trials of another sweep.", "Name another --output_dir.")
    return known


def _read_trials(path: Path) -> list[Values]:
    if not path.exists():
        return []
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}).", "Name another --output_dir.") from error
    if not isinstance(known, list) or not all(isinstance(values, dict) for values in known):
        raise UserError(f"{path} was not written by a sweep.", "Name another --output_dir.")
    return known


def _next(sweep: Sweep, known: Sequence[Values], total: int, places: int) -> list[Values]:
    """Return the next trials: all of a grid or a random search, one round of a search that learns."""
    if sweep.options.search == "grid":
        return search_space.grid(sweep.space)
    count = total - len(known) if sweep.options.search == "random" else min(places, total - len(known))
    trials = _trials(sweep, known)
    tried = [(trial.values, trial.score) for trial in trials]
    options = sweep.options
    return search_space.propose(sweep.space, options.search, options.search_seed, tried, count, upward=_upward(trials))


def _runs(sweep: Sweep, known: Sequence[Values]) -> list[RunSpec]:
    return [sweep.trial(number, values) for number, values in enumerate(known, start=1)]


def _run_unfinished(runs: Sequence[RunSpec], places: Sequence[jobs.Slot]) -> dict[str, str]:
    for run in runs:
        run_specs.refuse_if_other(run)
    left = [run for run in runs if not run.finished]
    failures = suite.execute(left, places) if left else {}
    for run in runs:
        if run.finished:  # 18 trials of BERT-base would keep 50 GB of checkpoints that nobody goes on from
            for checkpoint in checkpoints.numbered(run.folder):
                shutil.rmtree(checkpoint)
    return failures


def _open(sweep: Sweep, best: Trial) -> dict[str, str]:
    """Train with the best values once more and score the report splits, unless that was done."""
    winner = sweep.winner(best.values)
    run_specs.refuse_if_other(winner)
    return {} if winner.finished else suite.execute([winner], jobs.slots(sweep.options.devices, 1)[:1])


def _report(sweep: Sweep) -> list[Row]:
    folder = sweep.folder / "winner"
    return (
        suite_table.rows(sweep.recipe, [FinishedRun.read(folder)]) if (folder / output_dir.FINISHED).is_file() else []
    )


def _trials(sweep: Sweep, known: Sequence[Values]) -> list[Trial]:
    """Return the trials with the scores of those that have finished."""
    found = []
    for values, run in zip(known, _runs(sweep, known), strict=True):
        if not run.finished:
            found.append(Trial(values, run))
            continue
        results, told = (
            read_json(run.folder / name, run_specs.DO_AGAIN) for name in ("results.json", output_dir.FINISHED)
        )
        metric = results["metrics"][0]
        score = ((results.get("selection") or {}).get("metrics") or {}).get(metric)
        found.append(Trial(values, run, metric, score, told["seconds"]["whole_run"]))
    return found


def _upward(trials: Sequence[Trial]) -> bool:
    metric = next((trial.metric for trial in trials if trial.metric), "accuracy")
    return GREATER_IS_BETTER.get(metric, True)


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials from the best to the worst, equal ones in their order, those without a score last."""
    sign = -1 if _upward(trials) else 1
    return sorted(trials, key=lambda trial: math.inf if trial.score is None else sign * trial.score)


def _best(trials: Sequence[Trial]) -> Trial | None:
    return next((trial for trial in _ranked(trials) if trial.score is not None), None)


def _header(trials: Sequence[Trial]) -> tuple[str, ...]:
    metric = next((trial.metric for trial in trials if trial.metric), "score")
    return ("trial", *(trials[0].values if trials else ()), f"{metric} on selection", "seconds")


def _cells(trial: Trial) -> tuple[str, ...]:
    score = "not finished" if trial.score is None else f"{trial.score:.4f}"
    seconds = "-" if trial.seconds is None else f"{trial.seconds:.0f}"
    return (trial.run.folder.name, *trial.values.values(), score, seconds)
