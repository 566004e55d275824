"""What no test of behaviour would notice in the source."""

import ast
import dataclasses
import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from running import ROOT

import bertlab.commands
from bertlab.cli import flag_rules, parser
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments

# A column of a `datasets` table in an array, without [:].
ROW_BY_ROW = re.compile(r'np\.(?:asarray|array|unique)\([\w.\[\]]*\["\w+"\]\)')

# Words that readers stumbled over, where the field has a name.
STUMBLED_OVER = re.compile(
    r"masked[- ]words?|of like[- ]length|\banew\b|by its side|told in one line|number format|bag[- ]of[- ]words"
    r"|one class of many|nothing apart|to the letter|single steps|from nothing|learn[te]d? nothing|seldom fail"
    r"|house plan|plan of the house|plain verdict|less b\b|flags win|cannot be told apart",
    re.IGNORECASE,
)


def test_the_words_are_those_of_the_field():
    folders = (ROOT / name for name in ("bertlab", "benchmarks", "configs", "data", "docs", "tests", "tools"))
    files = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*"))]
    own = [path for path in files if path.suffix in (".py", ".md", ".yaml", ".ipynb", ".j2", ".js")]
    assert len(own) > 250
    assert not [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in own
        if path != Path(__file__)
        for hit in STUMBLED_OVER.finditer(path.read_text(encoding="utf-8"))
    ]


def test_no_column_is_turned_into_an_array_row_by_row():
    """Without [:] NumPy asks a column for each row: 7.5 microseconds, where [:] takes 0.04."""
    assert ROW_BY_ROW.search('np.asarray(encoded[train]["labels"])') and ROW_BY_ROW.search('np.asarray(a.b["c"])')
    assert not ROW_BY_ROW.search('np.asarray(split["labels"][:])')
    files = sorted((ROOT / "bertlab").rglob("*.py"))
    assert len(files) > 80
    hits = [f"{path.name}: {hit}" for path in files for hit in ROW_BY_ROW.findall(path.read_text(encoding="utf-8"))]
    # pair_texts has a batch of plain lists.
    assert hits == [hit for hit in hits if hit.startswith("pairs.py: ")]


# Of pip, git and accelerate, and what stands for a name.
OTHERS = {
    "version",
    "help",
    "help_all",
    "flag",
    "no_NAME",
    "require",
    "no",
    "porcelain",
    "untracked",
    "include",
    "exclude",
}
OTHERS |= {"plot", "soft", "line"}  # variables of the style of the page
OF_ACCELERATE = {
    *("num_cpu_threads_per_process", "multi_gpu", "num_processes", "mixed_precision"),
    "fsdp_transformer_layer_cls_to_wrap",
}


def _flags() -> Iterator[str]:
    yield from parser.RECIPE_NAMES
    yield from (*flag_rules.RENAMED, *flag_rules.RETIRED, *flag_rules.SWITCHES, *flag_rules.ALIASES)
    for data_arguments in (DataArguments, NspArguments):
        yield from parser.flags_of((data_arguments, ModelArguments, RunArguments))
    for module in pkgutil.iter_modules(bertlab.commands.__path__, "bertlab.commands."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__name__.endswith("Arguments"):
                yield from (field.name for field in dataclasses.fields(value))


def test_every_flag_that_a_text_names_exists():
    known = {*_flags(), *OTHERS, *OF_ACCELERATE}
    named: dict[str, str] = {}
    for path in sorted((ROOT / "bertlab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= dict.fromkeys(re.findall(r"(?<![\w-])--([a-z]\w+)", node.value), path.name)
    assert len(named) > 150
    assert {name: file for name, file in named.items() if not {name, name.removeprefix("no_")} & known} == {}


def _pins(name: str) -> dict[str, Version]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {name: Version(version) for name, version in re.findall(r"^([\w-]+)==([\w.]+)", text, re.MULTILINE)}


def test_the_lock_has_every_pin_with_its_hashes_and_names_no_host():
    text = (ROOT / "requirements-demo.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^[\w.-]+==[^\s;]+(?= )", text, re.MULTILINE)
    pins = re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {pin.replace("_", "-") for pin in pins if not pin.startswith("torch==")} <= set(locked)
    assert len(re.findall(r"\\\n    --hash=sha256:", text)) >= len(locked)
    assert "://" not in text


def test_the_ranges_begin_at_the_lowest_pins_and_hold_those_of_today():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    ranges = {range.name: range.specifier for range in map(Requirement, [*project["dependencies"], *extras["lora"]])}
    lowest, today = _pins("requirements-lowest.txt"), {**_pins("requirements.txt"), **_pins("requirements-dev.txt")}
    lower = {name: next(part.version for part in parts if part.operator == ">=") for name, parts in ranges.items()}
    assert {name: Version(version) for name, version in lower.items()} == {name: lowest[name] for name in lower}
    assert [name for name, versions in ranges.items() if today[name] not in versions] == []
