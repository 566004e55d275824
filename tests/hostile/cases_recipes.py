"""Recipes: unknown key, bad YAML, a key twice, a value of the wrong type, a file that is not there."""

from typing import Any

from bad_input import Case, refused


def recipe(name: str, text: str | bytes, *says: str, **more: Any) -> Case:
    return refused(name, "--config mine.yaml", "mine.yaml", *says, files={"mine.yaml": text}, **more)


CASES: list[Case] = [
    recipe(
        "unknown key",
        "seed: 1\nlearning_rte: 1e-5\n",
        "line 2",
        "learning_rte",
        "'learning_rate'",
        mends={"mine.yaml": "seed: 1\nlearning_rate: 1e-5\n"},
    ),
    recipe("sections", "training:\n  learning_rate: 1e-4\n", "line 1", "'training'", "has no sections"),
    refused(
        "a recipe of the other script",
        "--config tasks/cola",
        "'dataset_name'",
        "one of run_classification.py",
        command="nsp",
    ),
    recipe("bad YAML", "seed: 1\ntext: [a, b\n", "line 3"),
    recipe("no colon", "seed 1\n", "not a mapping", "flag: value"),
    recipe(
        "same flag under two names",
        "eval_strategy: epoch\nevaluation_strategy: 'no'\n",
        "line 1",
        "line 2",
        "given twice",
        notes=("mine.yaml, line 2, key 'evaluation_strategy' is read as --eval_strategy",),
    ),
    recipe(
        "a recipe in a recipe",
        "task: cola\n",
        "a recipe names no other",
        "Pass --task beside --config.",
        obeys="--config mine.yaml --task cola",
        mends={"mine.yaml": "seed: 1\n"},
        then="sentence",
    ),
    recipe("mapping for one value", "learning_rate: {a: 1}\n", "learning_rate", "'a=1'"),
    recipe("undefined alias", "seed: *one\n", "line 1", "undefined alias"),
    recipe("a tag that would run code", "seed: !!python/object/apply:os.system ['touch owned']\n", "seed"),
    recipe("latin-1", "published_source: Universit\xe9\n".encode("latin-1"), "UTF-8"),
    refused(
        "missing",
        "--config mien.yaml",
        "there is no recipe 'mien.yaml'",
        "'mine.yaml'",
        files={"mine.yaml": "seed: 1\n"},
    ),
    refused(
        "missing folder",
        "--config nowhere/mine.yaml",
        "there is no recipe 'nowhere/mine.yaml'",
        obeys="--config tasks/cola",
        then="sentence",
    ),
    refused(
        "a folder",
        "--config recipes.yaml",
        "there is no recipe 'recipes.yaml'",
        files={"recipes.yaml/a": ""},
        obeys="--config tasks/cola",
        then="sentence",
    ),
    refused("misspelt name", "--config colaa", "there is no recipe 'colaa'", "'cola'", then="sentence"),
    refused("no such task", "--task colla", "--task colla", "'cola'", then="sentence"),
    refused(
        "of the other script",
        "--config mine.yaml",
        "mine.yaml",
        "label_map",
        command="nsp",
        files={"mine.yaml": "label_map: {0: a}\n"},
        mends={"mine.yaml": "seed: 1\n"},
    ),
    refused(
        "check with a broken one",
        "--config mine.yaml",
        "mine.yaml",
        "line 1",
        command="check",
        files={"mine.yaml": "lable_map: {0: a}\n"},
        mends={"mine.yaml": "label_map: {good: yes}\n"},
    ),
]
