"""bertlab suite: many recipes with many seeds, each run a process of its own, and one table of all.

    bertlab suite --tasks cola rte mrpc --seeds 5
    bertlab suite --tasks rte --seeds 5 --config configs/presets/stable.yaml
    bertlab suite --configs nsp/meditations --seeds 3 --text meditations.txt
    bertlab suite --tasks cola --seeds 3 --train_sizes 300 1000 3000 all
    bertlab suite --tasks cola --seeds 20 --print_commands > commands.txt

Flags other than these go to every run. A second call skips what has finished and resumes the rest.
"""

import contextlib
import functools
import shlex
import statistics
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertlab.cli import parser, recipes
from bertlab.cli.arguments import dataclass_flags, setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.flag_rules import Rule
from bertlab.commands import jobs, learning_curve, run_specs, suite_table
from bertlab.commands.run_specs import RunSpec
from bertlab.console import duration
from bertlab.errors import UserError
from bertlab.report.run_folder import RunFolder
from bertlab.training import output_dir

OUTPUT = "runs/suite"
SEEDS = 5
REFUSAL = "failed: "
# Flags of one run, and what to do instead.
REFUSED = {"task": "Write --tasks.", "seed": "Write --seeds or --seed_list."}


@dataclass
class ManyRunsArguments:
    """Where many runs take place and how their table is printed, in the suite and in sweeps."""

    output_dir: str | None = setting(None, "folder of all the runs (default: runs/suite, or runs/sweep/NAME/RECIPE)")
    devices: list[str] = setting([], "cuda:0 cuda:1, 0 1, or cpu (default: every visible GPU, else the CPU)")
    jobs: int = setting(1, "runs at once on each device; on the CPU they share its cores", minimum=1)
    format: Literal["text", "markdown", "csv", "json"] = setting("text", "how the table is printed")


@dataclass
class SuiteArguments(ManyRunsArguments):
    """Which recipes are run with which seeds."""

    tasks: list[str] = setting([], "tasks of configs/tasks: cola rte mrpc…")
    configs: list[str] = setting([], "any recipes, by name or path: nsp/meditations my_task.yaml…")
    seeds: int | None = setting(None, "how many seeds, from 1 on (default: 5; for chosen ones: --seed_list)", minimum=1)
    seed_list: list[int] = setting([], "these seeds instead: 3 7", minimum=0, maximum=2**32 - 1)
    train_sizes: list[str] = setting(
        [], "a learning curve: train on samples of so many rows, each inside the next: 100 300 1000 all"
    )
    print_commands: bool = setting(False, "print the commands of the runs still to do, one a line, and stop")


RULES = (Rule("--seeds", "conflicts with", "--seed_list", "both name the seeds"),)


@entry_point
def main(argv: Sequence[str]) -> int:
    """Run what is not finished, gather all, and return 1 if a run did not finish, 130 if stopped."""
    options, run_flags = parser.parse_known(argv, SuiteArguments, __doc__ or "", RULES)
    folder = Path(options.output_dir or OUTPUT)
    runs = plan(options, run_flags)
    drawn = (learning_curve.PICTURE,) if options.train_sizes else ()
    _rows_of_others(folder, runs, *drawn)  # refuses files that are not this program's before anything is trained
    left = [run for some in runs.values() for run in some if not run.finished]
    if options.print_commands:
        print("".join(shlex.join(run.command) + "\n" for run in left), end="")
        return 0
    slots = jobs.slots(options.devices, options.jobs) if left else []
    output_dir.make_writable(folder)
    try:
        failures = execute(left, slots)
    except KeyboardInterrupt:
        return stopped()
    finished = {recipe: [RunFolder.read(run.folder) for run in some if run.finished] for recipe, some in runs.items()}
    table = [row for recipe, some in finished.items() for row in suite_table.rows(recipe, some)]
    if options.train_sizes:
        learning_curve.write(folder, table, finished)
    else:
        table = suite_table.corrected(table)
    if table:
        whole = [*_rows_of_others(folder, runs), *table]  # read here, as another suite may have ended meanwhile
        suite_table.write(folder / "suite", functools.partial(suite_table.render, whole))
        print(suite_table.render(table, options.format), end="")
    return report(failures)


def plan(options: SuiteArguments, argv: Sequence[str]) -> dict[str, list[RunSpec]]:
    """Return the runs of each recipe, by its name; nothing is touched.

    Raises:
        UserError: no recipe, one named twice, a flag the suite sets itself or a script refuses, or a run in one of
            the folders that was made with other values.
    """
    run_specs.refuse_flags(argv, REFUSED)
    if options.train_sizes:
        run_specs.refuse_flags(argv, learning_curve.REFUSED, "--train_sizes")
    chosen = [["--task", name] for name in options.tasks]
    chosen += [["--config", str(recipes.find_recipe(name))] for name in options.configs]
    if not chosen:
        raise UserError("there is nothing to run.", "Name recipes: --tasks cola rte, or --configs nsp/meditations.")
    seeds = dict.fromkeys(options.seed_list) or range(1, (options.seeds or SEEDS) + 1)
    own = [flag.name for flag in dataclass_flags(SuiteArguments)]
    runs: dict[str, list[RunSpec]] = {}
    names: set[str] = set()
    for recipe in chosen:
        name, _ = parser.recipe_name(parser.recipe_files([*recipe, *argv]))
        if not name:
            raise UserError(f"{recipe[1]} is a preset and no run.", f"Put it on top: --tasks … --config {recipe[1]}.")
        if name in names:
            raise UserError(f"two recipes are called {name}, or one is named twice.", "Keep one of them.")
        names.add(name)
        nsp = run_specs.script_of([*recipe, *argv]) == run_specs.NSP
        for flags, part in learning_curve.samples(options.train_sizes, nsp=nsp):
            folder, words = Path(options.output_dir or OUTPUT) / name / part, [*recipe, *argv, *flags]
            runs[f"{name}/{part}".rstrip("/")] = [
                run_specs.plan([*words, "--seed", str(seed)], folder / f"seed{seed}", own, quiet=number > 0)
                for number, seed in enumerate(seeds)
            ]
    return runs


def execute(runs: Sequence[RunSpec], slots: Sequence[jobs.Slot], varied: Collection[str] = ()) -> dict[str, str]:
    """Run every run, reporting on stderr what starts and ends; return what went wrong, by the run's name.

    Raises:
        UserError: a run was refused for a reason that all share: only the flags in `varied` differ, and it names none.
    """
    for run in runs:
        run_specs.write_plan(run)
    seconds: list[float] = []  # of those that finished
    failures: dict[str, str] = {}
    with contextlib.closing(jobs.run_all(runs, slots)) as events:
        for event in events:
            folder = str(event.run.folder)
            if event.status is None:
                _print(f"{folder} started on {event.device}")
                continue
            problem = _problem(event)
            if problem:
                failures[folder] = f"{problem}; see {event.run.log}"
                if varied and problem.startswith(REFUSAL) and not any(f"--{name}" in problem for name in varied):
                    raise UserError(f"{folder} {problem}", "The other runs would fail as well, so none is started.")
            else:
                seconds.append(event.seconds)
            ended = len(seconds) + len(failures)
            rounds = (len(runs) - ended) / min(len(slots), len(runs))
            rest = f", about {duration(statistics.mean(seconds) * rounds)} left" if rounds and seconds else ""
            _print(f"{folder} {problem or f'finished in {duration(event.seconds)}'} ({ended} of {len(runs)}{rest})")
    return failures


def report(failures: dict[str, str]) -> int:
    """Name the runs that did not finish, and return the exit status."""
    for name, problem in failures.items():
        print(f"not finished: {name} {problem}", file=sys.stderr)
    if failures:
        print("the same command tries again what did not finish.", file=sys.stderr)
    return 1 if failures else 0


def stopped() -> int:
    """Print how to resume after Ctrl-C, and return the exit status that a shell expects."""
    print("\nstopped; the same command resumes it.", file=sys.stderr)
    return 130


def _rows_of_others(folder: Path, recipes: Collection[str], *drawn: str) -> list[suite_table.Row]:
    """Return the rows that earlier suites left in the folder for other recipes whose runs are still there."""
    rows = suite_table.read(folder / "suite", suite_table.from_json, *drawn) or []
    return [row for row in rows if row.recipe not in recipes and (folder / row.recipe).is_dir()]


def _problem(event: jobs.Event) -> str:
    if event.status == 2:
        lines = event.run.log.read_text(encoding="utf-8", errors="replace").splitlines()
        refusals = [line for line in lines if line.startswith("error: ")]
        return REFUSAL + refusals[-1].removeprefix("error: ") if refusals else "ended with status 2"
    if event.status:
        return f"was killed by signal {-event.status}" if event.status < 0 else f"ended with status {event.status}"
    return "" if event.run.finished else "ended without a result"


def _print(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
