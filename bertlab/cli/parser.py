"""From the command line to typed values: flags override recipes, and nothing is ignored."""

import dataclasses
import re
import shlex
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from bertlab import console
from bertlab.cli import flag_rules, recipes
from bertlab.cli.arguments import DataArguments, Flag, NspArguments, Occurrence, RunArguments, dataclass_flags
from bertlab.cli.help import print_help_if_asked
from bertlab.cli.training_flags import TRAINING_DEFAULTS, training_flags
from bertlab.cli.values import BOOLEANS, DASHES, convert, sentence
from bertlab.errors import UserError, did_you_mean

T = TypeVar("T")

# Without any of them all happen that are not refused, where their data exists.
STAGES = ("do_train", "do_eval", "do_predict")
# What names the recipes of a script, and is no key of one.
RECIPE_FLAGS = (
    Flag("task", "str", help="the recipe configs/tasks/NAME.yaml", group="recipe"),
    Flag("config", "str", help="any recipe, by name or path, also several; flags override its keys", group="recipe"),
)
# More choices than this are not listed for a name like none of them.
MANY = 40
RECIPE_NAMES = [flag.name for flag in RECIPE_FLAGS]


@dataclass(frozen=True)
class Invocation:
    """How and when a run was asked for; `settings` are all flags that have a value, tokens left out, for run.json.

    `recipe` is empty where none is named; `name` is what the run is called in any case, presets included.
    """

    argv: list[str]
    recipe: str
    name: str
    given: frozenset[str]
    settings: dict[str, Any]
    started: float = dataclasses.field(default_factory=time.time)


@dataclass(frozen=True)
class Arguments:
    """What the command line says: our argument groups, the values for TrainingArguments, and the invocation."""

    groups: dict[type, Any]
    training: dict[str, Any]
    invocation: Invocation

    def __getitem__(self, group: type[T]) -> T:
        found: T = self.groups[group]
        return found

    def unpack(self) -> tuple[Any, ...]:
        """Return the groups one by one, the training values, and the invocation: functions take what they use."""
        return (*self.groups.values(), self.training, self.invocation)


def parse(
    argv: Sequence[str],
    groups: Sequence[type],
    usage: str,
    default_recipe: str | None = None,
    also_known: Sequence[str] = (),
) -> Arguments:
    """Return the arguments of a script from its command line.

    `groups` are the script's own argument dataclasses; every TrainingArguments field is added to them.
    `default_recipe` is taken where neither --task nor --config names one; a preset is none. `also_known` are flags
    of another command, which the hint for a misspelt flag may name.

    Raises:
        UserError: unknown, misspelt or abbreviated flag, wrong type or choice, value out of range, flags that
            contradict each other, bad recipe.
        SystemExit: after --help, with status 0.
    """
    flags = flags_of(groups)
    of_recipes = RECIPE_FLAGS if DataArguments in groups else RECIPE_FLAGS[1:]  # tasks are recipes of classification
    files = recipe_files(argv, default_recipe)
    entries = list(_recipe_entries(files))
    taken = [
        flag for flag in flags.values() if DataArguments in groups or flag.name not in flag_rules.OF_CLASSIFICATION
    ]
    of_recipe = {entry.name: " ".join(entry.values) for entry in entries}
    print_help_if_asked(argv, [*of_recipes, *taken], usage, of_recipe)
    strays, parts = split(argv)
    _refuse_strays(strays, (*RECIPE_NAMES, *flags))
    typed = [part for part in parts if part.name not in RECIPE_NAMES]
    values = _typed_values([*entries, *typed], flags, (*also_known, *RECIPE_NAMES))
    built, training = _build(groups, values)
    if DataArguments in built:
        flag_rules.refuse_unread(built[DataArguments], typed)
        flag_rules.leave_out_scores_of_other_data(built[DataArguments], built[RunArguments], typed)
    if RunArguments in built:
        flag_rules.divide_global_batch(built[RunArguments], training, typed)
    settings = {name: value for group in built.values() for name, value in dataclasses.asdict(group).items()}
    recipe, preset = recipe_name(files)
    name = recipe or "-".join(filter(None, (_source_name(settings), preset)))
    training["output_dir"] = str(Path(training.get("output_dir") or Path("runs") / name).expanduser())
    settings |= training
    flag_rules.check_rules(flag_rules.RULES, flags, settings)
    computed = flag_rules.PER_DEVICE if settings.get("global_batch_size") else ""
    hidden = (*console.SECRET_FLAGS, "print_config", computed)
    shown = {k: v for k, v in settings.items() if k not in hidden and v is not None and v not in ([], {})}
    return Arguments(built, training, Invocation(list(argv), recipe, name, frozenset(values), shown))


def parse_command(argv: Sequence[str], group: type[T], usage: str, rules: Sequence[flag_rules.Rule] = ()) -> T:
    """Return the arguments of a command: its flags, and its positional arguments.

    Raises:
        UserError: as parse does, or a positional argument is missing.
        SystemExit: after --help, with status 0.
    """
    options, rest = parse_known(argv, group, usage, rules)
    for part in split(rest)[1]:
        lookup(part, {flag.name: flag for flag in dataclass_flags(group) if not flag.positional})
    return options


def parse_known(
    argv: Sequence[str], group: type[T], usage: str, rules: Sequence[flag_rules.Rule] = ()
) -> tuple[T, list[str]]:
    """Return the arguments of a command, and the part of argv with all other flags.

    Raises:
        UserError: as parse does, or a positional argument is missing.
        SystemExit: after --help, with status 0.
    """
    flags = {flag.name: flag for flag in dataclass_flags(group)}
    print_help_if_asked(argv, flags.values(), usage)
    strays, parts = split(argv)
    has_positionals = any(flag.positional for flag in flags.values())
    own: list[Occurrence] = []
    others: list[str] = []
    for part in parts:
        flag = flags.get(flag_rules.current_name(part.name))
        if flag is None or flag.positional:
            others += part.argv
            continue
        end = _count_taken(flag, part.values) if has_positionals else len(part.values)
        strays += part.values[end:]
        own.append(dataclasses.replace(part, values=part.values[:end]))
    values = _typed_values([*_positionals(strays, flags), *own], flags)
    flag_rules.check_rules(rules, flags, values)
    return group(**values), others


def flags_of(groups: Sequence[type]) -> dict[str, Flag]:
    """Return every flag of a script by its name: its own groups' and TrainingArguments'."""
    ours = {flag.name: flag for group in groups for flag in dataclass_flags(group)}
    return {**ours, **{flag.name: flag for flag in training_flags() if flag.name not in ours}}


def split(argv: Sequence[str]) -> tuple[list[str], list[Occurrence]]:
    """Return what stands before the first flag, and each flag with what follows it."""
    strays: list[str] = []
    parts: list[Occurrence] = []
    for word in argv:
        if re.match(r"--[A-Za-z]", word):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            parts.append(Occurrence(flag_rules.ALIASES.get(name, name), [value] if equals else [], f"--{name}"))
        else:
            (parts[-1].values if parts else strays).append(word)
    return strays, parts


def lookup(part: Occurrence, flags: Mapping[str, Flag], also_known: Sequence[str] = ()) -> tuple[Flag, Occurrence]:
    """Return the flag of an occurrence; --no_NAME is given the value it stands for.

    Raises:
        UserError: there is no such flag, or --no_NAME has a value.
    """
    if part.name in flags:
        return flags[part.name], part
    negated = flags.get(part.name.removeprefix("no_"))
    if negated is not None and negated.kind == "bool":
        if part.values:
            raise UserError(f"{part.where} takes no value.", f"Write {negated.name} with true or false instead.")
        return negated, dataclasses.replace(part, values=["false"])
    hint = _hint_for_unknown(part, [*also_known, *flags]) or "This command has none; --help shows what it takes."
    raise UserError(f"{part.where}: no such flag.", hint)


def _hint_for_unknown(part: Occurrence, known: Sequence[str]) -> str:
    """Return what a flag that does not exist may stand for, or nothing."""
    ours = flag_rules.NAMES_ELSEWHERE.get(part.name)
    if ours in known:
        return f"It is called --{ours} here."
    for script, group in (("run_nsp.py", NspArguments), ("run_classification.py", DataArguments)):
        if part.name in group.__dataclass_fields__:
            return f"The recipe is one of {script}." if part.recipe else f"It is a flag of {script}."
    if part.recipe and any(value.partition("=")[0] in known for value in part.values):
        return "A recipe has no sections: write their flags without indentation."
    if part.name in flag_rules.NEEDLESS:
        return f"Leave it out: {flag_rules.NEEDLESS[part.name]}."
    usable = [name for name in known if name not in flag_rules.REFUSED]
    if longer := [name for name in usable if name.startswith(part.name)]:
        return f"Did you mean {longer[0]!r}? Flags are not abbreviated."
    hint = did_you_mean(part.name, usable)
    is_long = hint.startswith("Choose") and len(known) > MANY
    return "--help lists the common flags, --help-all every one." if is_long else hint


def recipe_files(argv: Sequence[str], default: str | None = None) -> list[Path]:
    """Return the files of --task and --config as they were typed, and after them the presets, which override them.

    Raises:
        UserError: there is no such task, several are named, or a flag does not name one.
    """
    parts = [part for part in split(argv)[1] if part.name in RECIPE_NAMES]
    tasks = [part for part in parts if part.name == "task"]
    if len(tasks) > 1:
        named = " and ".join(" ".join(part.values) for part in tasks)
        raise UserError(f"--task is given twice: {named}.", "Each task is a run of its own; `suite` does several.")
    files = []
    for part in parts:
        if len(part.values) != 1:
            raise UserError(f"--{part.name} takes one name.", "`python -m bertlab recipes` lists them.")
        files.append((recipes.find_task if part.name == "task" else recipes.find_recipe)(part.values[0]))
    presets = [path for path in files if recipes.is_preset(path)]
    complete = [path for path in files if path not in presets]
    if not complete and default:
        complete = [recipes.find_recipe(default)]
    return complete + presets


def recipe_name(files: Sequence[Path]) -> tuple[str, str]:
    """Return what the runs of these recipes are called, and the part that presets add: `rte-stable`, `stable`.

    Without a recipe but with a preset the name is empty: data and model are still to be named.
    """
    complete = next((recipes.short_name(path) for path in files if not recipes.is_preset(path)), "")
    preset = "-".join(path.stem for path in files if recipes.is_preset(path))
    return "-".join(filter(None, (complete, preset))) if complete else "", preset


def as_recipe(settings: Mapping[str, Any]) -> str:
    """Return the settings of a run as a recipe that --config reads back."""
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, default_flow_style=False)


def _source_name(settings: Mapping[str, Any]) -> str:
    """Return what a run without a recipe is called: its training file or data set."""
    sources = ("train_file", "dataset_name", "validation_file", "test_file")
    named = (settings.get(source) for source in sources)
    return Path(next(filter(None, named), "run")).name.split(".")[0]


def _positionals(strays: list[str], flags: Mapping[str, Flag]) -> Iterator[Occurrence]:
    for flag in (flag for flag in flags.values() if flag.positional):
        taken = strays if flag.many else strays[:1]
        strays = strays[len(taken) :]
        if taken:
            yield Occurrence(flag.name, taken, flag.name.upper())
        elif flag.default is None:
            raise UserError(f"{flag.name.upper()} is missing.", sentence(flag.help))
    _refuse_strays(strays, flags)


def _refuse_strays(strays: Sequence[str], names: Collection[str]) -> None:
    """Refuse a word without a flag, with the flag that it looks like a value of: a file, a task, a sentence."""
    if not strays:
        return
    word, meant = strays[0], tuple[str, ...]()
    if Path(word).is_file():
        meant = ("train_file", "file", "text")
    elif f"tasks/{word}" in recipes.recipe_names():
        meant = ("task", "tasks")
    elif " " in word:
        meant = ("text",)
    flag = next((name for name in meant if name in names), None)
    hint = f"Write --{flag} {shlex.quote(word)}." if flag else "Write --flag value; --help lists the flags."
    if word.startswith(DASHES):
        hint = f"Write --{word.lstrip(''.join(DASHES))}: a flag begins with two dashes."
    raise UserError(f"{word!r} belongs to no flag.", hint)


def _recipe_entries(files: Sequence[Path]) -> Iterator[Occurrence]:
    for path in files:
        for entry in recipes.read_recipe(path):
            name = flag_rules.ALIASES.get(entry.name, entry.name)
            if name in RECIPE_NAMES:
                raise UserError(f"{entry.where}: a recipe names no other.", f"Pass --{name} beside --config.")
            yield entry


def _typed_values(
    parts: Sequence[Occurrence], flags: Mapping[str, Flag], also_known: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the value of each flag; that of a later place, the command line or a recipe, overrides earlier ones."""
    for part in parts:
        if flag_rules.current_name(part.name) in console.SECRET_FLAGS:
            for value in part.values:
                console.hide(value)
    values: dict[str, Any] = {}
    seen: dict[tuple[str, str], Occurrence] = {}
    for part in parts:
        for current in flag_rules.translate(part):
            flag, current = lookup(current, flags, also_known)
            _refuse_single_dash(part, flags)
            value = convert(flag, current)
            if flag.repeatable:
                value = values.get(flag.name, []) + value
            else:
                _refuse_repeated(seen, flag.name, part)
            _override_other_way(seen, flag.name, part, values)
            values[flag.name] = value
    return values


def _refuse_single_dash(part: Occurrence, flags: Mapping[str, Flag]) -> None:
    """Refuse `-seed 1`: it would be two more values of the flag before it."""
    for word in part.values:
        name = word[1:].partition("=")[0].replace("-", "_")
        if word.startswith("-") and name in flags:
            raise UserError(f"-{name}: a flag begins with two dashes.", f"Write --{name}.")


def _refuse_repeated(seen: dict[tuple[str, str], Occurrence], flag: str, part: Occurrence) -> None:
    """Refuse a flag given twice in one place, be it by its negation or a former name."""
    before = seen.setdefault((part.recipe, flag), part)
    if before is not part:
        first, second = (f"'{' '.join([each.where, *each.values])}'" for each in (before, part))
        raise UserError(f"--{flag} is given twice: {first} and {second}.", "Keep one of them.")


def _override_other_way(
    seen: Mapping[tuple[str, str], Occurrence], flag: str, part: Occurrence, values: dict[str, Any]
) -> None:
    """Leave out what an earlier place says by another flag, and refuse both in one place."""
    other = flag_rules.EITHER.get(flag, "")
    if (part.recipe, other) in seen:
        raise UserError(f"{part.where} conflicts with --{other}: one is computed from the other.", "Leave one out.")
    values.pop(other, None)


def _count_taken(flag: Flag, values: Sequence[str]) -> int:
    """Return how many values a flag takes of those that follow it; the others may be positional arguments."""
    if flag.kind == "bool":
        return int(bool(values) and values[0].lower() in BOOLEANS)
    return flag.count or (len(values) if flag.many else 1)


def _build(groups: Sequence[type], values: Mapping[str, Any]) -> tuple[dict[type, Any], dict[str, Any]]:
    """Return the script's own argument dataclasses, and the values for TrainingArguments."""
    built = {}
    training = {**TRAINING_DEFAULTS, **values}
    for group in groups:
        names = [item.name for item in dataclasses.fields(group)]
        built[group] = group(**{name: training.pop(name) for name in names if name in training})
    if not any(training.get(stage) for stage in STAGES):
        training.update({stage: True for stage in STAGES if stage not in values})
    return built, {**dict.fromkeys(STAGES, False), **training}
