"""Recipes: unknown key, bad YAML, a key twice, a value of the wrong type, a file that is not there."""

from bad_input import Case, refused


def recipe(name: str, text: str | bytes, *says: str, notes: tuple[str, ...] = ()) -> Case:
    return refused(name, "--config mine.yaml", "mine.yaml", *says, files={"mine.yaml": text}, notes=notes)


CASES: list[Case] = [
    recipe("unknown key", "seed: 1\nlearning_rte: 1e-5\n", "line 2", "learning_rte", "'learning_rate'"),
    recipe("abbreviated key", "learning_r: 1e-5\n", "learning_r", "'learning_rate'"),
    recipe("bad YAML", "seed: 1\ntext: [a, b\n", "line 3"),
    recipe("tab in YAML", "seed: 1\n\tlearning_rate: 1e-5\n", "line 2"),
    recipe("no colon", "seed 1\n", "not a mapping", "flag: value"),
    recipe("key twice", "seed: 1\nlearning_rate: 1e-5\nseed: 2\n", "line 3", "'seed' is given twice"),
    recipe(
        "same flag under two names",
        "eval_strategy: epoch\nevaluation_strategy: 'no'\n",
        "line 1",
        "line 2",
        "given twice",
        notes=("mine.yaml, line 2, key 'evaluation_strategy' is called --eval_strategy",),
    ),
    recipe("wrong type", "seed: 1\nlearning_rate: fast\n", "line 2", "'fast' is not a number"),
    recipe("out of range", "per_device_train_batch_size: 0\n", "line 1", "out of range", "at least 1"),
    recipe("a recipe in a recipe", "task: cola\n", "a recipe names no other", "Pass --task beside --config."),
    recipe("wrong choice", "class_weights: balance\n", "'balance'", "'balanced'"),
    recipe("list for one value", "seed: [1, 2]\n", "takes one value, not 2"),
    recipe("mapping for one value", "learning_rate: {a: 1}\n", "learning_rate", "'a=1'"),
    recipe("nested", "model: {encoder: {layers: 2}}\n", "nested values are not allowed"),
    recipe("no value", "seed:\n", "no value", "Delete the line"),
    recipe("empty", "", "not a mapping"),
    recipe("a list", "- seed\n- 1\n", "not a mapping"),
    recipe("two documents", "seed: 1\n---\nseed: 2\n", "another document"),
    recipe("undefined alias", "seed: *one\n", "line 1", "undefined alias"),
    recipe("a tag that would run code", "seed: !!python/object/apply:os.system ['touch owned']\n", "seed"),
    recipe("latin-1", "published_source: Universit\xe9\n".encode("latin-1"), "UTF-8"),
    recipe("NUL bytes", b"seed: 1\0\n", "not readable as YAML"),
    recipe("deeply nested", "seed: " + "[" * 1200, "not readable as YAML"),
    refused(
        "missing",
        "--config mien.yaml",
        "--config mien.yaml: no such file",
        "'mine.yaml'",
        files={"mine.yaml": "seed: 1\n"},
    ),
    refused("missing folder", "--config nowhere/mine.yaml", "nowhere/mine.yaml: no such file"),
    refused("a folder", "--config recipes.yaml", "recipes.yaml", "folder", files={"recipes.yaml/a": ""}),
    refused("name for a file", "--config cola", "--config cola: no such file", "tasks/cola.yaml"),
    refused("no such task", "--task colla", "--task colla", "'cola'"),
    refused("two tasks", "--task cola rte", "--task takes one name"),
    refused("no name", "--config", "--config takes one"),
    refused(
        "of the other script",
        "--config mine.yaml",
        "mine.yaml",
        "label_map",
        command="nsp",
        files={"mine.yaml": "label_map: {0: a}\n"},
    ),
    refused(
        "check with a broken one",
        "--config mine.yaml",
        "mine.yaml",
        "line 1",
        command="check",
        files={"mine.yaml": "lable_map: {0: a}\n"},
    ),
]
