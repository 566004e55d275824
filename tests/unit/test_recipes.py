"""Recipes are flat YAML whose scalars stay text; whatever else a file holds is refused with its place."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertlab.cli import recipes
from bertlab.commands.recipes import main
from bertlab.errors import UserError


def read(path: Path) -> dict[str, list[str]]:
    return {entry.name: entry.values for entry in recipes.read_recipe(path)}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_values_stay_the_text_that_was_written(recipe):
    recipe.write_text(
        "learning_rate: 2e-5\nbf16: no\ntext: [a, 'b c', 1.0]\nmap: {1: x, yes: 007}\nnull_word: ~\nempty: ''\n"
    )
    assert read(recipe) == {
        "learning_rate": ["2e-5"],
        "bf16": ["no"],
        "text": ["a", "b c", "1.0"],
        "map": ["1=x", "yes=007"],
        "null_word": ["~"],
        "empty": [""],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", ", line 2: "),
        ("a: 1\n\tb: 2\n", ", line 2: "),
        ("a: 1\nb: 2\na: 3\n", ", line 3: key 'a' is given twice. A recipe is flat YAML: flag: value."),
        ("m: {x: 1, x: 2}\n", ", line 1: key 'x' is given twice."),
        ("? [a]\n: 1\n", ", line 1: a key must be a word."),
        ("a: &x [*x]\n", ", line 1: "),
        ("a: 1\n---\nb: 2\n", ", line 2: but found another document."),
        ("a: {b: {c: 1}}\n", ", key 'a': nested values are not allowed. A recipe is flat: its keys are the flags."),
        ("a: [[1]]\n", ", key 'a': nested values are not allowed."),
        ("a:\n", ", key 'a': no value. Delete the line to use the default."),
        ("a: [x, ]\nb:\n- y\n-\n", ", key 'b': no value."),
        ("?\n: 1\n", ", line 1: a key must be a word."),
        ("a: {b=c: d}\n", ", key 'a': 'b=c' has an equals sign."),
        ("- a\n- b\n", ": not a mapping of flags to values. Write one 'flag: value' per line."),
        ("", ": not a mapping of flags to values."),
        ("# only a comment\n", ": not a mapping of flags to values."),
        ("a: \x00\n", ": not readable as YAML"),
        ("a: " + "[" * 1200, ": not readable as YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_file_and_place(recipe, text, message):
    recipe.write_text(text)
    said = refusal(recipe)
    assert said.startswith(str(recipe)) and message in said
    assert "\n" not in said


def test_a_file_in_another_encoding_is_refused(recipe):
    recipe.write_bytes("a: caf\xe9\n".encode("latin-1"))
    assert refusal(recipe).startswith(f"{recipe}, line 1: not readable as YAML: byte 0xe9")


def test_recipes_are_found_by_name_folder_and_path(recipe):
    recipe.write_text("a: 1\n")
    assert recipes.find_recipe("mrpc") == recipes.CONFIGS / "tasks/mrpc.yaml" == recipes.find_recipe("tasks/mrpc")
    assert recipes.find_recipe(str(recipe)) == recipe
    with pytest.raises(UserError, match=r"there is no recipe 'mrcp'\. Did you mean 'mrpc'\?"):
        recipes.find_recipe("mrcp")
    with pytest.raises(UserError, match=rf"there is no recipe .*Did you mean '{re.escape(str(recipe))}'\?"):
        recipes.find_recipe(str(recipe.with_name("mien.yaml")))


@pytest.mark.parametrize(("name", "stem"), [("CoLA", "cola"), ("STS-B", "stsb"), ("SST-2", "sst2"), ("MNLI", "mnli")])
def test_tasks_are_found_in_glues_own_writing(name, stem):
    assert recipes.find_task(name) == recipes.CONFIGS / "tasks" / f"{stem}.yaml"


def test_the_list_shows_every_recipe_with_its_first_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == recipes.recipe_names()
    assert "CoLA: is the sentence acceptable English?" in lines[recipes.recipe_names().index("tasks/cola")]


def test_show_prints_a_recipe_under_its_path(capsys):
    assert main(["show", "rte"]) == 0
    path = recipes.CONFIGS / "tasks/rte.yaml"
    assert capsys.readouterr().out == f"# {path}\n{path.read_text(encoding='utf-8')}"


@pytest.mark.parametrize("words", [["show"], ["print", "cola"], ["show", "cola", "rte"]])
def test_other_words_are_refused(words):
    with pytest.raises(UserError, match=r"`bertlab recipes` lists them, `bertlab recipes show NAME` prints one\."):
        main(words)


YAML_PIECES = ("a", "b: ", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&x", "*x", "<<: ", "? ", "'", '"', "#", "|\n")
MORE_PIECES = (
    ">-\n",
    "%YAML 1.1\n",
    "---\n",
    "...",
    "\t",
    ",",
    "=",
    "2e-5",
    "~",
    "é",
    "\x00",
    "\ufeff",
    "!!set ",
    "!x",
)
PIECES = st.lists(st.sampled_from((*YAML_PIECES, *MORE_PIECES)), max_size=25)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(PIECES.map(lambda p: "".join(p).encode()), st.binary(max_size=60)))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    try:
        found = list(recipes.read_recipe(path))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(word, str) for entry in found for word in (entry.name, *entry.values))


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_no_error(word, capsys):
    with pytest.raises(SystemExit) as stop:
        main([word])
    assert stop.value.code == 0
    assert "recipes show cola" in capsys.readouterr().out


def test_a_shipped_recipe_finds_its_data_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipes.CONFIGS / "demo/cola.yaml"
    named = {}
    for folder in (tmp_path, recipes.CONFIGS.parent):
        monkeypatch.chdir(folder)
        named[folder] = next(e.values[0] for e in recipes.read_recipe(path) if e.name == "data_dir")
    assert named == {
        tmp_path: str(recipes.CONFIGS.parent / "data/cola_demo"),
        recipes.CONFIGS.parent: "data/cola_demo",
    }


def test_a_recipe_of_the_user_is_read_from_the_current_folder(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("data_dir: data/cola_demo\n", encoding="utf-8")
    assert [entry.values for entry in recipes.read_recipe(path)] == [["data/cola_demo"]]
