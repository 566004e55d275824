"""The values of a sweep: read from its file, enumerated as a grid, or proposed by optuna.

A sweep file is flat YAML whose keys are flags. A list holds choices, {low: 1e-5, high: 1e-4, log: true} a range.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertlab.cli import parser, recipes
from bertlab.cli.arguments import Flag, Occurrence
from bertlab.cli.flag_rules import ALIASES
from bertlab.cli.values import boolean, convert
from bertlab.errors import UserError

if TYPE_CHECKING:
    import optuna

FORMAT = "Write a list of choices, or {low: 1e-5, high: 1e-4, log: true}."
# Values of a range are rounded to so many digits: more would say nothing.
DIGITS = 4

# What one trial sets: the text of each swept flag.
Values = dict[str, str]


@dataclass(frozen=True)
class Range:
    """All numbers from low to high, whole ones only for a flag that takes these; evenly on a logarithm if `log`."""

    low: float
    high: float
    log: bool
    whole: bool


Space = Mapping[str, tuple[str, ...] | Range]


def read(path: Path, groups: Sequence[type]) -> Space:
    """Return what a sweep file says of the flags of a script.

    Raises:
        UserError: it is no flat YAML, a key is no flag, or a value is not one that the flag takes.
    """
    flags = parser.flags_of(groups)
    space: dict[str, tuple[str, ...] | Range] = {}
    for name, value in recipes.load_yaml(path)[0].items():
        where = f"{path}, key {name!r}"
        flag, _ = parser.lookup(Occurrence(ALIASES.get(name, name), [], where), flags)
        if flag.name in space:
            raise UserError(f"{where}: --{flag.name} is there twice.", "Keep one of them.")
        space[flag.name] = _range(flag, value, where) if isinstance(value, dict) else _choices(flag, value, where)
    if not space:
        raise UserError(f"{path}: nothing to sweep.", FORMAT)
    return space


def grid(space: Space) -> list[Values]:
    """Return every combination of the choices, the last flag changing fastest.

    Raises:
        UserError: a flag has a range, which has no end of values.
    """
    for name, values in space.items():
        if isinstance(values, Range):
            raise UserError(f"--{name} has a range, and a grid needs choices.", "Write a list, or --search random.")
    combinations = itertools.product(*(values for values in space.values() if not isinstance(values, Range)))
    return [dict(zip(space, values, strict=True)) for values in combinations]


def open_study(
    space: Space, search: str, seed: int, tried: Sequence[tuple[Values, float | None]], *, upward: bool = True
) -> "optuna.Study":
    """Return a study of earlier trials with their scores, None for one without; it asks at random or by TPE.

    The same seed and the same earlier trials give the same values. TPE: Bergstra et al. (2011).

    Raises:
        UserError: optuna is not installed.
        KeyError, TypeError, ValueError: an earlier trial is not in the search space.
    """
    library = import_optuna()
    library.logging.set_verbosity(library.logging.WARNING)
    sampler = library.samplers.RandomSampler if search == "random" else library.samplers.TPESampler
    study: optuna.Study = library.create_study(
        direction="maximize" if upward else "minimize", sampler=sampler(seed=seed + len(tried))
    )
    distributions = {name: _distribution(values) for name, values in space.items()}
    for values, score in tried:
        trial = library.trial.create_trial(
            params={name: _typed(space[name], text) for name, text in values.items()},
            distributions=distributions,
            value=score,
            state=library.trial.TrialState.FAIL if score is None else library.trial.TrialState.COMPLETE,
        )
        study.add_trial(trial)
    return study


def ask(study: "optuna.Study", space: Space, count: int) -> list[Values]:
    """Return the values of `count` further trials."""
    distributions = {name: _distribution(values) for name, values in space.items()}
    asked = [study.ask(distributions).params for _ in range(count)]
    return [{name: _text(space[name], params[name]) for name in space} for params in asked]


def import_optuna() -> Any:
    """Return the optuna module.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("--search random and tpe need optuna, which is not installed.", "pip install optuna") from None
    return optuna


def _choices(flag: Flag, value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise UserError(f"{where}: not a list of choices, nor a range.", FORMAT)
    if len(set(value)) < len(value):
        raise UserError(f"{where}: a choice is there twice.", "Keep one of them.")
    for text in value:
        convert(flag, Occurrence(flag.name, [text], where))
    return tuple(value)


def _range(flag: Flag, value: dict[str, Any], where: str) -> Range:
    whole = {"low", "high"} <= value.keys() <= {"low", "high", "log"}
    if not whole or not all(isinstance(item, str) for item in value.values()):
        raise UserError(f"{where}: a range has low, high and perhaps log.", FORMAT)
    if flag.kind not in ("int", "float"):
        raise UserError(f"{where}: --{flag.name} is no number and has no range.", "Write a list of choices.")
    low, high = (convert(flag, Occurrence(flag.name, [value[end]], where)) for end in ("low", "high"))
    log = boolean(value.get("log", "false"), where)
    if not low < high:
        raise UserError(f"{where}: low {value['low']} is not below high {value['high']}.", "Swap them.")
    if log and low <= 0:
        raise UserError(f"{where}: a logarithmic range begins above 0, not at {value['low']}.", "Raise low.")
    return Range(low, high, log, flag.kind == "int")


def _distribution(values: tuple[str, ...] | Range) -> "optuna.distributions.BaseDistribution":
    kinds = import_optuna().distributions
    if not isinstance(values, Range):
        return kinds.CategoricalDistribution(values)
    return (kinds.IntDistribution if values.whole else kinds.FloatDistribution)(values.low, values.high, log=values.log)


def _typed(values: tuple[str, ...] | Range, text: str) -> Any:
    if not isinstance(values, Range):
        return text
    return int(text) if values.whole else float(text)


def _text(values: tuple[str, ...] | Range, value: Any) -> str:
    if not isinstance(values, Range) or values.whole:
        return str(value)
    return repr(min(max(float(f"{value:.{DIGITS}g}"), values.low), values.high))
