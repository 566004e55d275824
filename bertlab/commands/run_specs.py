"""One of many runs: its script and command, what they resolve to, its folder, and whether it has finished."""

import contextlib
import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertlab import ROOT
from bertlab.cli import parser, recipes
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments
from bertlab.cli.flag_rules import current_name
from bertlab.cli.training_flags import default_of
from bertlab.errors import UserError
from bertlab.io import read_json, write_json
from bertlab.training.output_dir import FINISHED

# Flags that change neither data, model nor training: runs that differ in them alone are of one kind.
WHERE_AND_HOW = frozenset(
    (
        *("output_dir", "seed", "resume", "overwrite_output_dir", "disable_tqdm", "cache_dir", "overwrite_cache"),
        *("preprocessing_num_workers", "dataloader_num_workers", "report_to", "run_name", "project", "log_level"),
        *("push_to_hub", "hub_model_id", "hub_private_repo", "save_total_limit", "print_config", "print_parameters"),
        *("published", "published_split", "published_source", "per_device_eval_batch_size"),
        *("logging_strategy", "logging_steps", "logging_first_step", "dataloader_pin_memory"),
        *("dataloader_prefetch_factor", "dataloader_persistent_workers"),
    )
)
# Flags that are set for each run, or would keep a run from being one, and what to do instead.
REFUSED = {
    "resume": "A second call resumes the first.",
    "resume_from_checkpoint": "A second call resumes the first.",
    "overwrite_output_dir": "Name another --output_dir, or delete the folder.",
    "print_config": "It is for one run of the script itself.",
    "print_parameters": "It is for one run of the script itself.",
}
# What of a finished run --push_to_hub leaves out: it quotes the data, names paths, or is large.
NOT_UPLOADED = ("checkpoint-*", "predictions/*", "misclassified/*", "report.html", "run.json", "trainer_state.json")
NO_UPLOAD = (
    "Leave it out, or pass --no_push_to_hub where a recipe has it; afterwards upload one run: "
    f"`hf upload OWNER/NAME FOLDER . {' '.join(f'--exclude {shlex.quote(name)}' for name in NOT_UPLOADED)}`."
)


@dataclass(frozen=True)
class Script:
    """One of the two scripts, with the flags it takes and the recipe it has when none is named."""

    name: str
    groups: tuple[type, ...]
    default_recipe: str | None = None


CLASSIFICATION = Script("run_classification.py", (DataArguments, ModelArguments, RunArguments))
NSP = Script("run_nsp.py", (NspArguments, ModelArguments, RunArguments), recipes.NSP_DEFAULT)


@dataclass(frozen=True)
class RunSpec:
    """One run: its flags (--output_dir among them), and what they resolve to."""

    script: Script
    argv: tuple[str, ...]
    arguments: parser.Arguments

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.arguments.training["output_dir"])

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.arguments.training.get("seed", 42))

    @property
    def finished(self) -> bool:
        """True once the run has written its last file."""
        return (self.folder / FINISHED).is_file()

    @property
    def command(self) -> tuple[str, ...]:
        """The command through the real script, which resumes where it was stopped."""
        path = ROOT / self.script.name
        script = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return (sys.executable, str(script), *self.argv)

    @property
    def log(self) -> Path:
        """The file beside the folder with what the run prints."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def plan_file(self) -> Path:
        """The file beside the folder with the values that the run was begun with."""
        return self.folder.with_name(f"{self.folder.name}.plan.json")


def plan(argv: Sequence[str], folder: Path, also_known: Sequence[str] = (), *, quiet: bool = False) -> RunSpec:
    """Return the run that these flags make in a folder; `quiet` leaves out messages that were given before.

    Raises:
        UserError: what the script itself would refuse, flags of REFUSED, --push_to_hub, or the folder's run has other
            values.
    """
    refuse_flags(argv, REFUSED)
    script = script_of(argv)
    complete = (*argv, "--output_dir", str(folder), "--resume", "auto")
    with contextlib.redirect_stderr(io.StringIO()) if quiet else contextlib.nullcontext():
        arguments = parser.parse(complete, script.groups, "", script.default_recipe, also_known)
    if arguments.training.get("push_to_hub"):
        # That of --hub_model_id, or one called seed1 for every recipe; and losing trials would be published.
        raise UserError("--push_to_hub would have many runs replace each other in one repository.", NO_UPLOAD)
    run = RunSpec(script, complete, arguments)
    _refuse_other_values(run)
    return run


def refuse_flags(argv: Sequence[str], hints: Mapping[str, str], beside: str = "many runs") -> None:
    """Refuse flags that cannot be given for all runs at once, or `beside` another flag.

    Raises:
        UserError: one of `hints` was typed.
    """
    for name in flag_names(argv):
        if name in hints:
            raise UserError(f"--{name} cannot be used with {beside}.", hints[name])


def flag_names(argv: Sequence[str]) -> list[str]:
    """Return the current names of the flags that were typed."""
    return [current_name(part.name) for part in parser.split(argv)[1]]


def _refuse_other_values(run: RunSpec) -> None:
    """Refuse to resume in a folder whose run was made, or begun, with other values: they have no common mean."""
    if not run.finished and not (run.plan_file.is_file() and run.folder.is_dir()):
        return
    path = run.folder / FINISHED if run.finished else run.plan_file
    before = read_json(path, "Delete that run's folder to do it again.")
    now = json.loads(json.dumps(run.arguments.invocation.settings, default=str))
    changed = differences(before.get("configuration", {}), now, run.script.groups)
    if before.get("seed") != run.seed:
        changed.insert(0, ("seed", before.get("seed"), run.seed))
    if changed:
        shown = "; ".join(f"{name} {old}, now {new}" for name, old, new in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"{run.folder} holds a run made with other values: {shown}{more}.",
            "Name another --output_dir, or delete that folder.",
        )


def write_plan(run: RunSpec) -> None:
    """Write the values that a run is begun with, for a later call to compare before it resumes."""
    write_json(run.plan_file, {"seed": run.seed, "configuration": run.arguments.invocation.settings})


def script_of(argv: Sequence[str]) -> Script:
    """Return the script that recipes and flags are for: run_nsp.py as soon as one belongs to it alone."""
    nsp_alone = parser.flags_of(NSP.groups).keys() - parser.flags_of(CLASSIFICATION.groups)
    entries = (entry.name for path in parser.recipe_files(argv) for entry in recipes.read_recipe(path))
    return CLASSIFICATION if nsp_alone.isdisjoint((*entries, *flag_names(argv))) else NSP


def differences(before: dict[str, Any], now: dict[str, Any], groups: Sequence[type]) -> list[tuple[str, Any, Any]]:
    """Return flag and both values wherever two runs' settings differ; WHERE_AND_HOW is left out.

    A flag that one of them does not name is at its default there: it was not set, or did not exist yet.
    """
    defaults = {name: default_of(flag) for name, flag in parser.flags_of(groups).items()}
    found = []
    for name in sorted((before.keys() | now.keys()) - WHERE_AND_HOW):
        old, new = (values.get(name, defaults.get(name)) for values in (before, now))
        if not _same(old, new):
            found.append((name, old, new))
    return found


def _same(before: Any, now: Any) -> bool:
    empty: tuple[Any, ...] = (None, [], {}, "")
    if before == now or (before in empty and now in empty):
        return True
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_same, before, now))
    paths = isinstance(before, str) and isinstance(now, str) and "/" in f"{before}{now}"
    return paths and Path(before).expanduser().resolve() == Path(now).expanduser().resolve()
