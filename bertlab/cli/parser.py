"""From argv to checked arguments: recipe first, flags win, nothing ignored."""

import dataclasses
import json
import re
import textwrap
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from bertlab import console
from bertlab.cli import recipes
from bertlab.cli.arguments import DataArguments, Flag, RunArguments, dataclass_flags
from bertlab.cli.training_flags import training_flags
from bertlab.console import info, warning
from bertlab.errors import UserError, did_you_mean

T = TypeVar("T")

# Where our defaults differ from TrainingArguments' own; what depends on data or machine is decided in training.py.
TRAINING_DEFAULTS: dict[str, Any] = {
    "train_sampling_strategy": "group_by_length",
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "learning_rate": 2e-5,
    "logging_steps": 10,
    # A loss that is no number is to be seen, not replaced by the mean of those before it; that also spares a GPU
    # from being waited for at every step.
    "logging_nan_inf_filter": False,
    # Without it early stopping forgets its patience when a run is resumed.
    "restore_callback_states_from_checkpoint": True,
    # The finished run, with its card; the other ways let Trainer copy half a model into the folder.
    "hub_strategy": "end",
    "save_strategy": "epoch",
    "save_total_limit": 1,
}

# Without any of them all happen that are not refused, where their data exists.
STAGES = ("do_train", "do_eval", "do_predict")

ALIASES = {"task_name": "task", "max_length": "max_seq_length", "use_auth_token": "token", "recipe": "config"}

# Names that older transformers had and version 5 refuses: the name today, and what to say.
RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "no_cuda": "use_cpu",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_token": "hub_token",
    "torchdynamo": "torch_compile_backend",
}
PUBLISHED = Flag("published", "float", help="a published score, for example accuracy=0.884")
WARMUP_RATIO = Flag("warmup_ratio", "float", help="share of all steps, below 1")
# A switch of old that is one value of a flag today: (flag, value when true, value when false).
SWITCHES: dict[str, tuple[str, str, str | None]] = {
    "group_by_length": ("train_sampling_strategy", "group_by_length", "random"),
    "adafactor": ("optim", "adafactor", None),
    "include_inputs_for_metrics": ("include_for_metrics", "inputs", None),
    "include_tokens_per_second": ("include_num_input_tokens_seen", "all", None),
}
# Names that have nothing left to do.
RETIRED = {
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR to move TensorBoard's files",
    "save_safetensors": "weights are always saved as safetensors",
    "fp16_backend": "mixed precision is chosen with --precision",
    "half_precision_backend": "mixed precision is chosen with --precision",
    "fp16_opt_level": "mixed precision is chosen with --precision",
    "use_mps_device": "an Apple GPU is used where there is one",
    "jit_mode_eval": "TorchScript evaluation left transformers; see --torch_compile",
    "use_ipex": "the Intel extension left transformers; --precision auto uses what the CPU has",
    "tpu_num_cores": "accelerate launch decides the number of processes",
    "past_index": "encoders keep no past state",
    "mp_parameters": "SageMaker model parallelism left transformers",
    "ray_scope": "see python -m bertlab suite for searches",
}
# Values of TrainingArguments that no run can do with: every row's prediction is written and scored, and the batch is
# what the flags say.
UNSUPPORTED: tuple[tuple[str, bool, str], ...] = (
    ("prediction_loss_only", True, "scores need the predictions"),
    ("batch_eval_metrics", True, "scores are of whole splits, not of batches"),
    ("eval_do_concat_batches", False, "scores are of whole splits, not of batches"),
    ("auto_find_batch_size", True, "a run that begins again in its middle is another run; pass a smaller batch"),
)


# What says where the data comes from, and what says how that is read, which another source does not ask for.
FILES = ("train_file", "validation_file", "test_file")
FOLDER = ("data_dir", "data_layout")
DATASET = ("dataset_name", "dataset_config_name")
COLUMNS = ("text_column_names", "text_column_delimiter", "label_column_name", "source_column_name", "remove_columns")
NOT_READ_WITH = {
    FILES: (*FOLDER, *DATASET),
    FOLDER[:1]: (*DATASET, *COLUMNS, "delimiter", "quoting"),
    DATASET[:1]: ("data_layout", "delimiter", "quoting", "encoding"),
}
# What word processors make of two hyphens counts as well.
DASHES = ("-", "\u2013", "\u2014")


@dataclass(frozen=True)
class Occurrence:
    """A flag or recipe key with its raw values, the words that say where it stands, and its recipe, if any."""

    name: str
    values: list[str]
    where: str
    recipe: str = ""


@dataclass(frozen=True)
class Invocation:
    """How and when a run was asked for; `settings` are all flags that have a value, for run.json."""

    argv: list[str]
    recipe: str
    preset: str
    given: frozenset[str]
    settings: dict[str, Any]
    started: float = dataclasses.field(default_factory=time.time)


@dataclass
class Arguments:
    """What the command line says: our argument groups, training values, and where they came from."""

    groups: dict[type, Any]
    training: dict[str, Any]
    given: frozenset[str]
    recipe: str
    preset: str
    argv: list[str]

    def __getitem__(self, group: type[T]) -> T:
        return self.groups[group]

    def unpack(self) -> tuple[Any, ...]:
        """Return the groups one by one, the training values, and the invocation: functions take what they use."""
        invocation = Invocation(self.argv, self.recipe, self.preset, self.given, resolved(self))
        return (*self.groups.values(), self.training, invocation)


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
    that somebody else takes, for a misspelt one to be told of.

    Raises:
        UserError: unknown, misspelt or abbreviated flag, wrong type or choice, value out of range, bad recipe.
        SystemExit: after --help, with status 0.
    """
    flags = flags_of(groups)
    if any(word in ("-h", "--help") for word in argv):
        print(help_text(flags.values(), usage))
        raise SystemExit(0)
    typed = [part for part in _split(argv) if part.name not in ("task", "config")]
    files = recipe_files(argv, default_recipe)
    from_recipes = [
        Occurrence(entry.key, entry.values, entry.where, str(path))
        for path in files
        for entry in recipes.read_recipe(path)
    ]
    _remember_secrets([*from_recipes, *typed])
    values: dict[str, Any] = {}
    seen: dict[tuple[str, str], Occurrence] = {}
    for occurrence in [*from_recipes, *typed]:
        for current in _modernise(occurrence):
            flag, current = lookup(current, flags, also_known)
            _refuse_repeated(seen, flag.name, occurrence)
            _refuse_single_dash(occurrence, flags)
            values[flag.name] = convert(flag, current)
    return _arguments(groups, values, files, argv)


def flags_of(groups: Sequence[type]) -> dict[str, Flag]:
    """Return every flag of a script by its name: its own groups' and TrainingArguments'."""
    ours = {flag.name: flag for group in groups for flag in dataclass_flags(group)}
    return {**ours, **{flag.name: flag for flag in training_flags() if flag.name not in ours}}


def name_today(name: str) -> str:
    """Return what a flag is called that was typed by another name, one it had once, or as --no_NAME."""
    name = ALIASES.get(name, name)
    name = SWITCHES[name][0] if name in SWITCHES else RENAMED.get(name, name)
    return name.removeprefix("no_")


def parse_part(argv: Sequence[str], group: type[T], usage: str) -> tuple[T, list[str]]:
    """Return the values of one group's flags, and the words of all the others for whoever takes them.

    Raises:
        UserError: a flag of the group is given twice, or has a value that is none of its own.
        SystemExit: after --help, with status 0.
    """
    flags = {flag.name: flag for flag in dataclass_flags(group)}
    if any(word in ("-h", "--help") for word in argv):
        print("\n".join([usage.strip(), "", *map(_flag_help, flags.values())]))
        raise SystemExit(0)
    values: dict[str, Any] = {}
    seen: dict[tuple[str, str], Occurrence] = {}
    rest: list[str] = []
    for part in _split(argv):
        if part.name in flags:
            _refuse_repeated(seen, part.name, part)
            values[part.name] = convert(flags[part.name], part)
        elif len(part.values) == 1 and part.values[0].startswith("--"):
            rest.append(f"{part.where}={part.values[0]}")
        else:
            rest += [part.where, *part.values]
    return group(**values), rest


def convert(flag: Flag, occurrence: Occurrence) -> Any:
    """Return the typed value of one flag.

    Raises:
        UserError: no value, too many, wrong type, not among the choices, or out of range.
    """
    where, values = occurrence.where, occurrence.values
    if flag.kind == "bool" and not values:
        return True
    if not values or ("" in values and flag.kind == "str" and not flag.may_be_empty):
        raise UserError(f"{where} needs a value.", _sentence(flag.help))
    if len(values) > 1 and not flag.many:
        raise UserError(
            f"{where} takes one value, not {len(values)}: {' '.join(values)}.",
            _hint_for_several(flag, values),
        )
    if flag.kind == "dict":
        return _mapping(values, where)
    converted = [_convert_one(flag, value, where) for value in values]
    return converted if flag.many else converted[0]


def _hint_for_several(flag: Flag, values: Sequence[str]) -> str:
    if values[1].startswith(DASHES):
        return "A flag begins with two dashes."
    return "Quote a text with spaces." if flag.kind == "str" else _sentence(flag.help)


def print_config(arguments: Arguments) -> str:
    """Return the resolved run as a recipe that --config reads back."""
    return yaml.safe_dump(resolved(arguments), sort_keys=False, allow_unicode=True, default_flow_style=False)


def output_dir(arguments: Arguments) -> Path:
    """Return --output_dir, or runs/<name of the run>."""
    if arguments.training.get("output_dir"):
        return Path(arguments.training["output_dir"]).expanduser()
    return Path("runs") / run_name(arguments)


def run_name(arguments: Arguments) -> str:
    """Return what a run is called: its recipe, or its training file or data set, and the presets on top."""
    if arguments.recipe:
        return arguments.recipe
    sources = ("train_file", "dataset_name", "validation_file", "test_file")
    named = (getattr(group, field, None) for group in arguments.groups.values() for field in sources)
    source = Path(next(filter(None, named), "run")).name.split(".")[0]
    return "-".join(filter(None, (source, arguments.preset)))


def resolved(arguments: Arguments) -> dict[str, Any]:
    """Return every setting of a run that has a value, by its flag; tokens are left out."""
    chosen: dict[str, Any] = {}
    for group in arguments.groups.values():
        chosen.update(dataclasses.asdict(group))
    chosen.update(arguments.training)
    hidden = (*console.SECRET_FLAGS, "print_config")
    return {k: v for k, v in chosen.items() if k not in hidden and v is not None and v not in ([], {})}


def help_text(flags: Iterable[Flag], usage: str) -> str:
    """Return the --help page: usage, our flags by group, then TrainingArguments' fields."""
    lines = [usage.strip(), "", "A recipe comes first, flags win; a recipe's keys are these flags."]
    lines += [
        _help_line("--task NAME", "configs/tasks/NAME.yaml"),
        _help_line("--config FILE", "any recipe; may be repeated"),
    ]
    group = ""
    for flag in flags:
        if flag.group != group:
            group = flag.group
            lines += [
                "",
                f"{group} flags:" if group != "training" else "training flags (transformers.TrainingArguments):",
            ]
        lines.append(_flag_help(flag))
    return "\n".join(lines)


def default_of(flag: Flag) -> Any:
    """Return what a flag is where nobody sets it; what depends on data or machine is None."""
    return TRAINING_DEFAULTS.get(flag.name, flag.default) if flag.group == "training" else flag.default


def _flag_help(flag: Flag) -> str:
    default = default_of(flag)
    value = {"bool": "", "dict": " KEY=VALUE …"}.get(flag.kind, f" {flag.kind.upper()}" + (" …" if flag.many else ""))
    if flag.choices:
        value = f" {{{','.join(flag.choices)}}}"
    shown = f" [{default}]" if default not in (None, [], {}, False, "") else ""
    # The texts of TrainingArguments' fields are escaped for argparse.
    text = flag.help.replace("%%", "%")
    if flag.name in TRAINING_DEFAULTS:
        text = text.replace(" (default)", "")  # theirs, not ours
    return _help_line(f"--{flag.name}{value}", text + shown)


def _help_line(name: str, text: str) -> str:
    wrapped = textwrap.wrap(text, 78) or [""]
    return "\n".join([f"  {name}", *(f"        {line}" for line in wrapped)])


def _split(argv: Sequence[str]) -> list[Occurrence]:
    """Cut argv into flags with the words that follow them."""
    found: list[Occurrence] = []
    for word in argv:
        if re.match(r"--[A-Za-z]", word):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found.append(Occurrence(ALIASES.get(name, name), [value] if equals else [], f"--{name}"))
        elif found:
            found[-1].values.append(word)
        else:
            raise UserError(f"{word!r} stands before any flag.", "Write --flag value; --help lists the flags.")
    return found


def _remember_secrets(occurrences: Iterable[Occurrence]) -> None:
    for occurrence in occurrences:
        if RENAMED.get(occurrence.name, occurrence.name) in console.SECRET_FLAGS:
            for value in occurrence.values:
                console.register_secret(value)


def _refuse_single_dash(occurrence: Occurrence, flags: dict[str, Flag]) -> None:
    """Refuse `-seed 1`: it would be two more values of the flag before it."""
    for word in occurrence.values:
        name = word[1:].partition("=")[0].replace("-", "_")
        if word.startswith("-") and name in flags:
            raise UserError(f"-{name}: a flag begins with two dashes.", f"Write --{name}.")


def _refuse_repeated(seen: dict[tuple[str, str], Occurrence], flag: str, occurrence: Occurrence) -> None:
    """Refuse a flag given before in one place, under its own name, its negation or the name it had once."""
    before = seen.setdefault((occurrence.recipe, flag), occurrence)
    if before is not occurrence:
        first, second = (f"'{' '.join([part.where, *part.values])}'" for part in (before, occurrence))
        raise UserError(f"--{flag} is given twice: {first} and {second}.", "Keep one of them.")


def recipe_files(argv: Sequence[str], default: str | None = None) -> list[Path]:
    """Return the files of --task and --config as they were typed, and after them the presets: these go on top."""
    files = []
    tasks = [part for part in _split(argv) if part.name == "task"]
    if len(tasks) > 1:
        named = " and ".join(" ".join(part.values) for part in tasks)
        raise UserError(f"--task is given twice: {named}.", "Each task is a run of its own; `suite` does several.")
    for part in _split(argv):
        if part.name in ("task", "config"):
            if len(part.values) != 1:
                raise UserError(f"--{part.name} takes one name.", "`python -m bertlab recipes` lists them.")
            name = part.values[0]
            files.append(recipes.find_task(name) if part.name == "task" else Path(name))
    presets = [path for path in files if recipes.is_preset(path)]
    complete = [path for path in files if path not in presets]
    if not complete and default:
        complete = [recipes.find_recipe(default)]
    return complete + presets


def _modernise(occurrence: Occurrence) -> list[Occurrence]:
    """Translate a name that version 5 of transformers removed, with a message; other names pass unchanged."""
    name, values, where = ALIASES.get(occurrence.name, occurrence.name), occurrence.values, occurrence.where
    if name in RENAMED:
        if name == "warmup_ratio" and values and _number(WARMUP_RATIO, values[0], where) >= 1:
            raise UserError(f"{where}: {values[0]} would be a number of steps.", "Write --warmup_steps for steps.")
        info(f"{where} is called --{RENAMED[name]} since transformers 5; taken as that.")
        return [Occurrence(RENAMED[name], values, where)]
    if name in SWITCHES:
        flag, when_true, when_false = SWITCHES[name]
        on = _convert_one(Flag(name, "bool"), values[0], where) if values else True
        value = when_true if on else when_false
        info(
            f"{where} is " + (f"--{flag} {value} since transformers 5; taken as that." if value else "the default now.")
        )
        return [Occurrence(flag, [value], where)] if value else []
    if name in RETIRED:
        if name == "save_safetensors" and values and not _boolean(values[0], where):
            raise UserError(f"{where} false: weights are only ever saved as safetensors.", "Leave the flag out.")
        warning(f"{where} has no effect since transformers 5: {RETIRED[name]}.")
        return []
    return [Occurrence(name, values, where)]


def lookup(occurrence: Occurrence, flags: dict[str, Flag], also_known: Sequence[str] = ()) -> tuple[Flag, Occurrence]:
    """Return the flag of an occurrence; --no_NAME is given the value it stands for.

    Raises:
        UserError: there is no such flag, or --no_NAME has a value.
    """
    flag = flags.get(occurrence.name)
    if flag is not None:
        return flag, occurrence
    negated = flags.get(occurrence.name.removeprefix("no_"))
    if negated is not None and negated.kind == "bool":
        if occurrence.values:
            raise UserError(f"{occurrence.where} takes no value.", f"Write {negated.name} with true or false instead.")
        return negated, dataclasses.replace(occurrence, values=["false"])
    if occurrence.name in ("task", "config"):  # both name a recipe, and this one is in a recipe
        raise UserError(f"{occurrence.where}: a recipe names no other.", f"Pass --{occurrence.name} beside --config.")
    known = [*also_known, *flags, "task", "config"]
    beginnings = [name for name in known if name.startswith(occurrence.name)]
    hint = (
        f"Did you mean {beginnings[0]!r}? Flags are not abbreviated."
        if beginnings
        else did_you_mean(occurrence.name, known)
    )
    raise UserError(f"{occurrence.where}: no such flag.", hint)


def _convert_one(flag: Flag, text: str, where: str) -> Any:
    if flag.kind == "bool":
        return _boolean(text, where)
    if flag.kind in ("int", "float"):
        return _number(flag, text, where)
    if flag.choices and text not in flag.choices:
        raise UserError(f"{where}: {text!r} is not one of its values.", did_you_mean(text, flag.choices))
    if flag.is_json:
        _refuse_broken_json(text, where)
    return text


def _refuse_broken_json(text: str, where: str) -> None:
    """Refuse what is neither a JSON object nor a file; TrainingArguments reads both."""
    if not text.lstrip().startswith("{"):
        if Path(text).is_file():
            return
        raise UserError(
            f"{where}: {text!r} is neither a JSON object nor a file.", """For example '{"num_cycles": 2}'."""
        )
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where}: not JSON: {error}.", "A shell takes quotes away: write '{\"key\": value}' in single quotes."
        ) from None


def _boolean(text: str, where: str) -> bool:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise UserError(f"{where}: {text!r} is neither true nor false.", "Write true, false, or the flag alone.")


def _number(flag: Flag, text: str, where: str) -> int | float:
    wanted = "a whole number" if flag.kind == "int" else "a number"
    try:
        value = int(text) if flag.kind == "int" else float(text)
    except ValueError:
        # 0,5 for a half, 1,000 for a thousand.
        meant = text.replace(",", "." if flag.kind == "float" else "")
        near = meant != text and _is_number(meant) and (flag.kind == "float" or re.fullmatch(r"\d{1,3}(,\d{3})+", text))
        hint = f"Write {meant}." if near else _sentence(flag.help)
        raise UserError(f"{where}: {text!r} is not {wanted}.", hint) from None
    if not (value == value and abs(value) != float("inf")):
        raise UserError(f"{where}: {text!r} is not a finite number.", _sentence(flag.help))
    if value != flag.unset and not _in_range(flag, value):
        raise UserError(f"{where}: {text} is out of range.", f"It must be {_bounds(flag)}.")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_range(flag: Flag, value: float) -> bool:
    low, high, above = flag.minimum, flag.maximum, flag.above
    return (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)


def _bounds(flag: Flag) -> str:
    if flag.above is not None:
        return f"above {flag.above:g}"
    if flag.maximum is not None:
        return f"from {flag.minimum:.10g} to {flag.maximum:.10g}"
    return f"at least {flag.minimum:g}" + (f", or {flag.unset:g} for none" if flag.unset is not None else "")


def _mapping(values: Iterable[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UserError(f"{where}: {text!r} is not of the form key=value.", "For example 1=negative 2=positive.")
        if pairs.setdefault(key, value) != value:
            raise UserError(f"{where}: {key!r} is given twice: {pairs[key]!r} and {value!r}.", "Keep one of them.")
    return pairs


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _with_resume(values: dict[str, Any]) -> dict[str, Any]:
    """Take Trainer's --resume_from_checkpoint (true, or a checkpoint) as --resume."""
    values = dict(values)
    named = values.pop("resume_from_checkpoint", None)
    if named is None or named.lower() in ("false", "no", "0"):
        return values
    if "resume" in values:
        raise UserError("--resume and --resume_from_checkpoint say the same.", "Keep --resume.")
    return {**values, "resume": "must" if named.lower() in ("true", "yes", "1") else named}


def _refuse_contradictions(training: dict[str, Any]) -> None:
    """Refuse what the training flags say against one another or against what every run here does."""
    if not any(training[stage] for stage in STAGES):
        flags = ", ".join(f"--{stage}" for stage in STAGES)
        raise UserError(f"{flags} are all off: there is nothing to do.", "Leave one of them out.")
    for flag, refused, why in UNSUPPORTED:
        if training.get(flag) is refused:
            raise UserError(f"--{flag} {str(refused).lower()}: {why}.", "Leave the flag out.")
    for flag in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
        if training.get(flag) and not training.get("dataloader_num_workers"):
            raise UserError(f"--{flag}: there are no workers.", "Add --dataloader_num_workers 2, or leave it out.")


def _refuse_what_says_nothing(run: RunArguments) -> None:
    """Refuse a published score that is no number, and a threshold of a stopping that was not asked for."""
    for name, text in run.published.items():
        _number(PUBLISHED, text, f"--published {name}")
    if run.early_stopping_threshold and run.early_stopping_patience is None:
        raise UserError("--early_stopping_threshold: nothing stops early.", "Add --early_stopping_patience 2.")


def _leave_out_scores_of_other_data(data: DataArguments, run: RunArguments, argv: Sequence[str]) -> None:
    """Leave out a recipe's published scores where files are read in place of the data set that it names."""
    file = next((getattr(data, name) for name in FILES if getattr(data, name)), None)
    typed = any(part.name == "published" for part in _split(argv))
    if run.published and data.dataset_name and file and not typed:
        info(f"the published scores are of {data.dataset_name} and not of {file}; they are left out.")
        run.published, run.published_split, run.published_source = {}, None, None


def _refuse_what_is_not_read(data: DataArguments, argv: Sequence[str]) -> None:
    """Refuse a typed flag that the source of the run's data makes no use of; a recipe may know several sources."""
    source, unread = next(
        ((name, flags) for names, flags in NOT_READ_WITH.items() for name in names if getattr(data, name)), ("", ())
    )
    ignored = next((part for part in _split(argv) if part.name in unread), None)
    if ignored is not None:
        raise UserError(
            f"{ignored.where} would be ignored: the data is that of --{source} {getattr(data, source)}.",
            "Leave one of the two out.",
        )


def _arguments(groups: Sequence[type], values: dict[str, Any], files: list[Path], argv: Sequence[str]) -> Arguments:
    values = _with_resume(values)
    built = {}
    ours: set[str] = set()
    for group in groups:
        names = {item.name for item in dataclasses.fields(group)}
        built[group] = group(**{name: value for name, value in values.items() if name in names})
        ours |= names
    training = {**TRAINING_DEFAULTS, **{name: value for name, value in values.items() if name not in ours}}
    if not any(training.get(stage) for stage in STAGES):
        training.update({stage: True for stage in STAGES if stage not in values})
    training = {**dict.fromkeys(STAGES, False), **training}
    _refuse_contradictions(training)
    if DataArguments in built:
        _refuse_what_is_not_read(built[DataArguments], argv)
    if RunArguments in built:
        _refuse_what_says_nothing(built[RunArguments])
    if DataArguments in built and RunArguments in built:
        _leave_out_scores_of_other_data(built[DataArguments], built[RunArguments], argv)
    arguments = Arguments(built, training, frozenset(values), *recipes.run_name(files), list(argv))
    training["output_dir"] = str(output_dir(arguments))
    return arguments
