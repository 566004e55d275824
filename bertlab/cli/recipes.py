"""Recipes: flat YAML files under configs/ whose keys are exactly the flags."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from bertlab import SHIPPED
from bertlab.cli.arguments import Occurrence
from bertlab.errors import UserError, did_you_mean

CONFIGS = SHIPPED / "configs"
# configs/accelerate says where a run takes place and configs/sweeps ranges of values: neither is a recipe.
RECIPE_FOLDERS = ("tasks", "nsp", "demo", "presets", "benchmarks")
# What run_nsp.py takes where no recipe is named.
NSP_DEFAULT = "nsp/meditations"


class _TextLoader(yaml.BaseLoader):
    """YAML whose scalars stay text, so that 2e-5 is a number and `no` is not a boolean; a missing value is None."""

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        # Of no value and of '' both BaseLoader makes an empty text.
        return super().construct_scalar(node) if node.value or node.style else None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or self.construct_scalar(key_node) is None:
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key_node.value!r} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(str(key_node.value))
        return super().construct_mapping(node, deep)


def recipe_names(folders: Sequence[str] = RECIPE_FOLDERS) -> list[str]:
    """Return every recipe of these folders as folder/name, in order."""
    files = (path for folder in folders for path in sorted((CONFIGS / folder).rglob("*.yaml")))
    return [path.relative_to(CONFIGS).with_suffix("").as_posix() for path in files]


def short_name(path: Path) -> str:
    """Return what a recipe's runs are called: `cola` for a task, `demo/cola` for the demo, else the file's name."""
    if not _is_shipped(path):
        return path.stem
    return path.resolve().relative_to(CONFIGS).with_suffix("").as_posix().removeprefix("tasks/").removeprefix("nsp/")


def is_preset(path: Path) -> bool:
    """Return True for training values that go on top of any recipe and are no run by themselves."""
    return path.resolve().is_relative_to(CONFIGS / "presets")


def find_recipe(name: str, folders: Sequence[str] = RECIPE_FOLDERS, what: str = "recipe") -> Path:
    """Return the file of a recipe, or of a sweep, named as `cola`, `tasks/cola` or by a path.

    Raises:
        UserError: none has that name.
    """
    for candidate in [Path(name), *(CONFIGS / folder / f"{name}.yaml" for folder in ("", *folders))]:
        if candidate.is_file():
            return candidate
    names, beside = recipe_names(folders), map(str, Path(name).parent.glob("*.y*ml"))
    near = did_you_mean(name, [*names, *(n.split("/")[-1] for n in names), *beside])
    file = f", and no such file in {Path.cwd()}" if Path(name).suffix in (".yaml", ".yml") else ""
    raise UserError(f"there is no {what} {name!r}{file}.", near)


def find_task(name: str) -> Path:
    """Return configs/tasks/NAME.yaml.

    Raises:
        UserError: there is no such task.
    """
    tasks = {path.stem: path for path in sorted((CONFIGS / "tasks").glob("*.yaml"))}
    # GLUE's own writing (CoLA, MNLI, STS-B) is accepted as well.
    path = tasks.get(name) or tasks.get(name.casefold().replace("-", ""))
    if path is None:
        raise UserError(f"--task {name}: there is no such task.", did_you_mean(name, tasks))
    return path


def read_recipe(path: Path) -> Iterator[Occurrence]:
    """Yield the entries of a recipe in order; a mapping becomes values of the form key=value.

    Raises:
        UserError: the file cannot be read, is not one flat mapping, or has a key twice or without value.
    """
    recipe, lines = load_yaml(path)
    for key, value in recipe.items():
        where = f"{path}, line {lines[key]}, key {key!r}"
        if isinstance(value, dict):
            values = [_pair(name, item, where) for name, item in value.items()]
        elif isinstance(value, list):
            values = [_scalar(item, where) for item in value]
        else:
            values = [_scalar(value, where)]
        if _is_shipped(path):
            values = [_find_shipped_data(value) for value in values]
        yield Occurrence(str(key), values, where, str(path))


def header(path: Path) -> str:
    """Return the first comment line of a recipe: what it is."""
    first = path.read_text(encoding="utf-8").splitlines()[:1]
    return first[0].lstrip("# ").strip() if first and first[0].startswith("#") else ""


def load_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the mapping a YAML file holds, its scalars as the text that was written, and the line of each key.

    Raises:
        UserError: the file cannot be read, is not YAML, is not a mapping, or has a key twice.
    """
    try:
        loader = _TextLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        recipe: dict[str, Any] = loader.construct_document(root) if root is not None else {}
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: {error.problem}.", "A recipe is flat YAML: flag: value.") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{error.object[error.start]:02x} is not UTF-8 text"
        raise UserError(f"{path}, line {number}: not readable as YAML: {what}.", "Save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not readable as YAML ({error}).", "A recipe is flat YAML: flag: value.") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: not a mapping of flags to values.", "Write one 'flag: value' per line.")
    return recipe, {key.value: key.start_mark.line + 1 for key, _ in root.value}


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, (dict, list)):
        raise UserError(f"{where}: nested values are not allowed.", "A recipe is flat: its keys are the flags.")
    if value is None:
        raise UserError(f"{where}: no value.", "Delete the line to use the default.")
    return str(value)


def _is_shipped(path: Path) -> bool:
    return path.resolve().is_relative_to(CONFIGS)


def _find_shipped_data(value: str) -> str:
    """Return where the demo data that a shipped recipe names is: in the current folder only for a checkout's own."""
    path = SHIPPED / value
    if not value.startswith("data/") or path.is_relative_to(Path.cwd()):
        return value
    return str(path)


def _pair(name: str, value: Any, where: str) -> str:
    if "=" in name:
        raise UserError(f"{where}: {name!r} has an equals sign.", "It separates key and value on the command line.")
    return f"{name}={_scalar(value, where)}"
