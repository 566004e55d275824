"""Whatever a recipe or a command line holds, parsing ends in arguments of the right types or in one line."""

from contextvars import copy_context
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments, dataclass_flags
from bertlab.cli.training_flags import training_flags
from bertlab.errors import UserError

GROUPS = (DataArguments, ModelArguments, RunArguments)
FLAGS = {flag.name: flag for flag in (*training_flags(), *(f for group in GROUPS for f in dataclass_flags(group)))}
TYPES = {"bool": bool, "int": int, "float": float, "str": str}

NAMES = st.one_of(st.sampled_from(sorted(FLAGS)), st.text(max_size=12))
# Values that some flag takes, some that none does, and YAML's own signs.
WORDS = st.one_of(
    st.sampled_from(
        ["1", "-1", "0", "1e-5", "1e400", "nan", "true", "no", "a=b", "epoch", "{}", "[1, 2]", "~", "&a *a"]
    ),
    st.sampled_from(["{a: 1}", "!!python/name:os.system", "'", "|", "- 1", "--seed", "-seed", "", "\x85", "\u2028"]),
    st.text(max_size=12),
)


fuzz = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def arguments_or_refusal(argv: list[str]) -> None:
    """Parse; a UserError must be one line, and what is given must have its flag's type."""
    try:
        # In a context of its own: later messages of this process would hide every token that is made up here.
        parsed = copy_context().run(parser.parse, argv, GROUPS, "usage")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return
    for name in parsed.invocation.given - {"resume_from_checkpoint"}:
        flag = FLAGS[name]
        values = [getattr(group, name, None) for group in parsed.groups.values()] + [parsed.training.get(name)]
        value = next(value for value in values if value is not None)
        if flag.kind == "dict":
            assert isinstance(value, dict)
        else:
            assert all(isinstance(one, TYPES[flag.kind]) for one in (value if flag.many else [value]))


@fuzz
@given(lines=st.lists(st.tuples(NAMES, WORDS), max_size=4))
def test_any_recipe_is_arguments_or_a_refusal(tmp_path: Path, lines: list[tuple[str, str]]) -> None:
    path = tmp_path / "mine.yaml"
    text = "".join(f"{name}: {word}\n" for name, word in lines)
    path.write_text(text, encoding="utf-8", errors="replace")
    arguments_or_refusal(["--config", str(path)])


@fuzz
@given(pairs=st.lists(st.tuples(NAMES, WORDS), max_size=4))
def test_any_command_line_is_arguments_or_a_refusal(pairs: list[tuple[str, str]]) -> None:
    words = [word for name, word in pairs for word in (f"--{name}", word)]
    arguments_or_refusal([word for word in words if word not in ("-h", "--help")])
