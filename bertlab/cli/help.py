"""The --help page of a script or command: its usage, then every flag with its default."""

import textwrap
from collections.abc import Iterable, Sequence

from bertlab.cli.arguments import Flag
from bertlab.cli.training_flags import TRAINING_DEFAULTS, default_of


def print_help_if_asked(argv: Sequence[str], flags: Iterable[Flag], usage: str) -> None:
    """Print the page if -h or --help is given.

    Raises:
        SystemExit: after the page, with status 0.
    """
    if any(word in ("-h", "--help") for word in argv):
        print(help_text(flags, usage))
        raise SystemExit(0)


def help_text(flags: Iterable[Flag], usage: str) -> str:
    """Return the page: usage, then the flags under the names of their groups."""
    lines = [usage.strip()]
    group = ""
    for flag in sorted(flags, key=lambda flag: not flag.positional):
        if flag.group != group:
            group = flag.group
            of = " (transformers.TrainingArguments)" if group == "training" else ""
            lines += ["", f"{group} flags{of}:"]
        lines.append(_flag_help(flag))
    return "\n".join(lines)


def _flag_help(flag: Flag) -> str:
    value = f"{{{','.join(flag.choices)}}}" if flag.choices else flag.kind.upper()
    value = {"bool": "", "dict": "KEY=VALUE"}.get(flag.kind, value)
    many = "…" if flag.many and not flag.choices else ""
    name = " ".join(filter(None, (flag.name.upper() if flag.positional else f"--{flag.name} {value}", many)))
    default = default_of(flag)
    shown = f" [{default}]" if default not in (None, [], {}, False, "") else ""
    # The texts of TrainingArguments' fields are escaped for argparse.
    text = flag.help.replace("%%", "%")
    if flag.name in TRAINING_DEFAULTS:
        text = text.replace(" (default)", "")  # theirs, not ours
    return "\n".join([f"  {name.rstrip()}", *(f"        {line}" for line in textwrap.wrap(text + shown, 78) or [""])])
