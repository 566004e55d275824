"""bertlab sweep: search training values on a selection split, then score the best once.

    bertlab sweep configs/sweeps/bert_paper.yaml --task rte
    bertlab sweep my_sweep.yaml --task rte --search tpe --trials 20 --jobs 2

Each trial is a run of its own that only trains, and is judged by the primary metric on rows held out of train
(--selection_fraction, 0.1 where the task has none). The evaluation splits stay closed until all trials have ended; then
the winner's command is run once more, with them, into the folder `winner`. A second call resumes.
"""

import dataclasses
import functools
import math
import operator
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertlab import console
from bertlab.cli import parser, recipes
from bertlab.cli.arguments import dataclass_flags, setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.flag_rules import DATASET, FILES, FOLDER, Rule
from bertlab.commands import jobs, run_specs, search_space, suite, suite_table
from bertlab.commands.run_specs import RunSpec
from bertlab.commands.search_space import Space, Values
from bertlab.commands.suite_table import Row
from bertlab.console import info, warning
from bertlab.errors import UserError
from bertlab.evaluation import degenerate
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.io import read_json, write_json
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import metric_name
from bertlab.training import checkpoints, output_dir

OUTPUT = "runs/sweep"
SELECTION_FRACTION = "0.1"
# The values that optuna was asked for so far; those of a grid follow from the sweep's own file.
TRIALS = "trials.json"
REFUSED = dict.fromkeys(("do_train", "do_eval", "do_predict"), "Leave it out: trials train, and the winner is scored.")
# What trials must share to be judged by one metric on the same rows, and the folder that they share.
SHARED = ("selection_fraction", "split_seed", "metric_name", "positive_label", "text", *FILES, *FOLDER, *DATASET)
NOT_SWEPT = {
    **run_specs.REFUSED,
    **REFUSED,
    "push_to_hub": run_specs.NO_UPLOAD,
    **dict.fromkeys(("output_dir", *SHARED), "Take it out of the file, and pass it as a flag."),
}
TRIAL = ("--do_train", "true", "--do_eval", "false", "--do_predict", "false")
WINNER = ("--do_train", "true", "--do_eval", "true", "--do_predict", "true")


@dataclass
class SweepArguments(suite.ManyRunsArguments):
    """How the values of a sweep are searched."""

    sweep: str = setting(None, "a file like configs/sweeps/bert_paper.yaml, or its name", positional=True)
    search: Literal["grid", "random", "tpe"] = setting(
        "grid", "every combination; or random values, or optuna's TPE (both: pip install optuna)"
    )
    trials: int | None = setting(None, "how many trials of --search random or tpe", minimum=1)
    allow_failures: bool = setting(False, "choose among the finished trials although others failed")
    search_seed: int = setting(0, "seed of --search random and tpe", minimum=0, maximum=2**31 - 1)


RULES = (
    Rule("--trials", "conflicts with", "--search grid", "a grid is all combinations", "Add --search random or tpe."),
    Rule("--search random tpe", "requires", "--trials", "the search has no end of its own", "Add --trials 20."),
)


@dataclass(frozen=True)
class Sweep:
    """What is searched, where, and the flags that every trial has."""

    space: Space
    options: SweepArguments
    argv: tuple[str, ...]
    recipe: str
    folder: Path

    @property
    def has_winner(self) -> bool:
        """True once the evaluation splits were opened."""
        return (self.folder / "winner" / output_dir.FINISHED).is_file()

    def run(self, name: str, values: Values, stages: Sequence[str]) -> RunSpec:
        """Return the run of a trial or of the winner.

        Raises:
            UserError: the script refuses a flag, or the run was made or begun with other values.
        """
        chosen = [word for flag, text in values.items() for word in (f"--{flag}", text)]
        return run_specs.plan([*self.argv, *chosen, *stages], self.folder / name, quiet=True)


@dataclass(frozen=True)
class Trial:
    """One trial with its score on the selection split, None while it has not finished."""

    trial: str
    values: Values
    metric: str | None = None
    score: float | None = None
    seconds: int | None = None
    collapsed: bool = False


@entry_point
def main(argv: Sequence[str]) -> int:
    """Run the trials that are not finished and then the winner; return 1 if a run did not finish, 130 if stopped."""
    options, run_flags = parser.parse_known(argv, SweepArguments, __doc__ or "", RULES)
    sweep = plan(options, run_flags)
    # Files that are not this program's are refused before anything is trained.
    suite_table.read(sweep.folder / "sweep", operator.itemgetter("trials"))
    try:
        trials, failures = execute(sweep)
        closed = failures and not options.allow_failures
        if not closed:
            failures |= _open(sweep, trials)
    except KeyboardInterrupt:
        return suite.stopped()
    winners = [RunFolder.read(sweep.folder / "winner")] if sweep.has_winner else []
    rows = suite_table.rows(sweep.recipe, winners)
    suite_table.write(sweep.folder / "sweep", functools.partial(render, trials, rows))
    print(render(trials, rows, options.format), end="")
    if closed:
        warning("the evaluation splits stay closed: trials did not finish; --allow_failures chooses among the others.")
    return suite.report(failures)


def plan(options: SweepArguments, argv: Sequence[str]) -> Sweep:
    """Return a sweep whose flags are all valid; nothing is touched.

    Raises:
        UserError: the file is no sweep, a flag cannot be swept, or is also given, or the script would refuse one.
    """
    if options.search != "grid":
        search_space.import_optuna()
    run_specs.refuse_flags(argv, REFUSED)
    path = recipes.find_recipe(options.sweep, ("sweeps",), "sweep")
    base = run_specs.plan(argv, Path(OUTPUT), [flag.name for flag in dataclass_flags(SweepArguments)])
    space = search_space.read(path, base.script.groups)
    given = run_specs.flag_names(argv)
    for name in space:
        if name in NOT_SWEPT:
            raise UserError(f"{path}: --{name} cannot be swept.", NOT_SWEPT[name])
        if name in given:
            raise UserError(f"--{name} is swept in {path} and given as a flag.", "Take it out of one of them.")
    if options.search == "grid":
        search_space.grid(space)
    recipe = base.arguments.invocation.name
    folder = Path(options.output_dir or Path(OUTPUT) / path.stem / recipe)
    return Sweep(space, options, (*argv, *_selection(base, given)), recipe, folder)


def execute(sweep: Sweep) -> tuple[list[Trial], dict[str, str]]:
    """Run the trials, by rounds where TPE learns from earlier ones; return them and what went wrong.

    Raises:
        UserError: the folder holds trials of another sweep, or its winner was scored before all trials were run, or
            trials cannot be compared.
    """
    asked = _asked(sweep)
    runs = _runs(sweep, asked)
    total = len(asked) if sweep.options.search == "grid" else sweep.options.trials or 0
    if sweep.has_winner:
        if len(asked) < total or not all(run.plan_file.is_file() for run in runs):
            raise UserError(
                f"{sweep.folder} has its winner: more trials would choose after the evaluation splits were opened.",
                "Name another --output_dir.",
            )
        return _trials(asked, runs), {}
    slots = jobs.slots(sweep.options.devices, sweep.options.jobs)
    output_dir.make_writable(sweep.folder)
    failures = _run_unfinished(runs, slots, sweep.space)
    while len(asked) < total:
        count = total - len(asked) if sweep.options.search == "random" else min(len(slots), total - len(asked))
        asked += _ask(sweep, _trials(asked, runs), count)
        runs = _runs(sweep, asked)  # may refuse one, and then a second call must not resume it
        write_json(sweep.folder / TRIALS, {"trials": asked})
        failures |= _run_unfinished(runs[-count:], slots, sweep.space)
    return _trials(asked, runs), failures


def render(trials: Sequence[Trial], rows: Sequence[Row], form: str) -> str:
    """Return the trials, best first, and the winner's scores in a format of the suite's; CSV has the trials alone."""
    ranked = [dataclasses.asdict(trial) for trial in _ranked(trials)]
    if form == "json":
        return suite_table.to_json({"trials": ranked, "winner": [dataclasses.asdict(row) for row in rows]})
    score = f"{_metric(trials)} on selection"
    records = [{"trial": t["trial"], **t["values"], score: t["score"], "seconds": t["seconds"]} for t in ranked]
    if form == "csv":
        return suite_table.to_csv(records)
    cells = [[console.cell(value) for value in record.values()] for record in records]
    table = console.markdown(list(records[0]), cells) if form == "markdown" else console.table(cells, list(records[0]))
    winner = f"The best, on the evaluation splits:\n\n{suite_table.render(rows, form)}" if rows else ""
    return f"{table}\n\n{winner}"


def _selection(base: RunSpec, given: Sequence[str]) -> tuple[str, ...]:
    """Return the flags that give a task without a selection split one."""
    if base.arguments[base.script.groups[0]].selection_fraction:
        return ()
    if "selection_fraction" in given:
        raise UserError("--selection_fraction 0 leaves only the evaluation splits to choose by.", "Give it 0.1.")
    info(f"trials are judged on --selection_fraction {SELECTION_FRACTION} of the training rows.")
    return ("--selection_fraction", SELECTION_FRACTION)


def _asked(sweep: Sweep) -> list[Values]:
    """Return the values of a grid, or those that an earlier call has asked optuna for."""
    if sweep.options.search == "grid":
        return search_space.grid(sweep.space)
    path = sweep.folder / TRIALS
    asked = read_json(path, "Name another --output_dir.").get("trials", []) if path.exists() else []
    try:
        search_space.open_study(sweep.space, sweep.options.search, 0, [(values, None) for values in asked])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{sweep.folder} holds the trials of another sweep ({error}).", "Name another --output_dir."
        ) from error
    return asked


def _ask(sweep: Sweep, trials: Sequence[Trial], count: int) -> list[Values]:
    options, tried = sweep.options, [(trial.values, trial.score) for trial in trials]
    upward = GREATER_IS_BETTER.get(_metric(trials), True)
    study = search_space.open_study(sweep.space, options.search, options.search_seed, tried, upward=upward)
    return search_space.ask(study, sweep.space, count)


def _runs(sweep: Sweep, asked: Sequence[Values]) -> list[RunSpec]:
    return [sweep.run(f"trial{number:03d}", values, TRIAL) for number, values in enumerate(asked, start=1)]


def _run_unfinished(runs: Sequence[RunSpec], slots: Sequence[jobs.Slot], space: Space) -> dict[str, str]:
    failures = suite.execute([run for run in runs if not run.finished], slots, varied=space)
    for run in runs:
        if run.finished:  # 18 trials of BERT-base would keep 50 GB of checkpoints that nobody resumes from
            for checkpoint in checkpoints.numbered(run.folder):
                shutil.rmtree(checkpoint)
    return failures


def _open(sweep: Sweep, trials: Sequence[Trial]) -> dict[str, str]:
    """Train with the best values once more and score the evaluation splits, unless that was done."""
    scored = [trial for trial in _ranked(trials) if trial.score is not None]
    if not scored or _is_undecided(scored):
        return {}
    best = scored[0]
    winner = sweep.run("winner", best.values, WINNER)
    return {} if winner.finished else suite.execute([winner], jobs.slots(sweep.options.devices, 1)[:1])


def _is_undecided(scored: Sequence[Trial]) -> bool:
    """Return True, saying so, where no trial is better than the others, or none learned anything."""
    if len(scored) > 1 and len({trial.score for trial in scored}) == 1:
        why = f"all {len(scored)} trials have the same {_metric(scored)} on the selection split, {scored[0].score:.4g}"
    elif all(trial.collapsed for trial in scored):
        why = "the training loss of every trial is no better than that of a constant prediction"
    else:
        return False
    warning(
        f"no winner: {why}. The evaluation splits stay closed; sweep other values, or a larger --selection_fraction."
    )
    return True


def _trials(asked: Sequence[Values], runs: Sequence[RunSpec]) -> list[Trial]:
    """Return the trials, with their scores if they have finished.

    Raises:
        UserError: two of them were judged by different metrics, or on different rows.
    """
    finished = [RunFolder.read(run.folder) if run.finished else None for run in runs]
    judged = {
        (metric_name(run.results, run.metrics[0]), run.fingerprint("selection")): run.path
        for run in finished
        if run is not None
    }
    if len(judged) > 1:
        ((metric, _), first), ((other, _), second) = list(judged.items())[:2]
        how = "on different rows" if metric == other else f"by different metrics, {metric} and {other}"
        raise UserError(
            f"{first} and {second} cannot be compared: they were judged {how}.",
            "Take flags that change data or metric out of the sweep, and name another --output_dir.",
        )
    return list(map(_trial, asked, runs, finished))


def _trial(values: Values, run: RunSpec, finished: RunFolder | None) -> Trial:
    """Return a trial, with its score if it has finished."""
    if finished is None:
        return Trial(run.folder.name, values)
    metric = finished.metrics[0]
    score = ((finished.results.get("selection") or {}).get("metrics") or {}).get(metric)
    collapsed = bool(degenerate.is_degenerate(finished.run, finished.kind, finished.log))
    return Trial(run.folder.name, values, metric, score, round(finished.run["seconds"]["whole_run"]), collapsed)


def _metric(trials: Sequence[Trial]) -> str:
    return next((trial.metric for trial in trials if trial.metric), "score")


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials from the best to the worst, equal ones in their order, those without a score last."""
    sign = -1 if GREATER_IS_BETTER.get(_metric(trials), True) else 1
    return sorted(trials, key=lambda trial: math.inf if trial.score is None else sign * trial.score)
