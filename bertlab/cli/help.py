"""The help page of a script or command: its usage, then its flags with their defaults; 80 columns wide."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from bertlab.cli.arguments import Flag
from bertlab.cli.flag_rules import REFUSED
from bertlab.cli.training_flags import TRAINING_DEFAULTS, default_of

WIDTH = 80
# What --help shows of the scripts' flags; --help_all shows every one.
COMMON: Mapping[str, Sequence[str]] = {
    "Data": (
        *("task", "config", "train_file", "validation_file", "test_file", "dataset_name", "data_dir", "text"),
        *("text_column_names", "label_column_name", "label_map", "validation_fraction", "selection_fraction"),
        *("document_unit", "negatives", "max_seq_length"),
    ),
    "Model": ("model_name_or_path", "freeze_encoder", "lora_rank", "from_scratch"),
    "Training": (
        *("objective", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "warmup_steps", "seed"),
        *("precision", "class_weights", "early_stopping_patience"),
    ),
    "Evaluation": ("metric_name", "metric_for_best_model"),
    "Output": ("output_dir", "resume", "overwrite_output_dir", "push_to_hub", "print_config"),
}


def print_help_if_asked(
    argv: Sequence[str], flags: Iterable[Flag], usage: str, recipe: Mapping[str, str] | None = None
) -> None:
    """Print the page if -h or --help is given; of a script the common flags, unless --help_all is.

    A script has a recipe, whose values are shown as the defaults.

    Raises:
        SystemExit: after the page, with status 0.
    """
    words = {word.replace("-", "_") for word in argv if word.startswith("-")}
    flags = [flag for flag in flags if flag.name not in REFUSED]
    if "__help_all" in words:
        print(help_text(flags, usage, recipe))
    elif words & {"_h", "__help"}:
        print(help_text(flags, usage) if recipe is None else common_help_text(flags, usage, recipe))
    else:
        return
    raise SystemExit(0)


def common_help_text(flags: Iterable[Flag], usage: str, recipe: Mapping[str, str]) -> str:
    """Return usage and the common flags of a script."""
    known = {flag.name: flag for flag in flags}
    lines = [_wrapped(usage)]
    for group, names in COMMON.items():
        lines += ["", f"{group}:", *(_flag_help(known[name], recipe) for name in names if name in known)]
    return "\n".join([*lines, "", f"--help-all shows all {len(known)} flags."])


def help_text(flags: Iterable[Flag], usage: str, recipe: Mapping[str, str] | None = None) -> str:
    """Return usage and every flag, under the names of their groups."""
    lines = [_wrapped(usage)]
    group = ""
    for flag in sorted(flags, key=lambda flag: not flag.positional):
        if flag.group != group:
            group = flag.group
            of = " (transformers.TrainingArguments)" if group == "training" else ""
            lines += ["", f"{group} flags{of}:"]
        lines.append(_flag_help(flag, recipe or {}))
    return "\n".join(lines)


def _wrapped(usage: str) -> str:
    """Return a usage with its prose at the page's width, and its commands as they are, indented."""
    blocks = usage.strip().split("\n\n")
    return "\n\n".join(_commands(block) or textwrap.fill(block, WIDTH) for block in blocks)


def _commands(block: str) -> str:
    """Return a block of commands, indented, or nothing; a docstring may have lost its indentation."""
    lines = textwrap.dedent(block)
    is_code = lines.startswith(("bertlab ", "python ", "accelerate ")) and ": " not in lines.partition("\n")[0]
    return textwrap.indent(lines, "    ") if is_code else ""


def _flag_help(flag: Flag, recipe: Mapping[str, str]) -> str:
    value = f"{{{','.join(flag.choices)}}}" if flag.choices else flag.kind.upper()
    value = {"bool": "", "dict": "KEY=VALUE"}.get(flag.kind, value)
    many = "…" if flag.many and not flag.choices else ""
    name = " ".join(filter(None, (flag.name.upper() if flag.positional else f"--{flag.name} {value}", many)))
    default = recipe.get(flag.name, default_of(flag))
    shown = f" [{default}]" if default not in (None, [], {}, False, "") else ""
    # The texts of TrainingArguments' fields are escaped for argparse.
    text = flag.help.replace("%%", "%")
    if flag.name in TRAINING_DEFAULTS:
        text = text.replace(" (default)", "")  # theirs, not ours
    head = textwrap.wrap(name.replace(",", ", "), WIDTH, initial_indent="  ", subsequent_indent="      ")
    body = textwrap.wrap(text + shown, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join([*(line.replace(", ", ",") for line in head), *body])
