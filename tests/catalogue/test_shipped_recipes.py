"""Every recipe under configs/ parses, says what it reproduces and how to run it, and carries the published values."""

import shlex
from pathlib import Path

import pytest

from bertlab.cli import parser, recipes
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments, dataclass_flags
from bertlab.cli.training_flags import training_flags
from bertlab.commands import search_space
from bertlab.data.file_layouts import LAYOUTS
from bertlab.evaluation.metrics import METRICS

FILES = sorted(path for folder in recipes.RECIPE_FOLDERS for path in (recipes.CONFIGS / folder).rglob("*.yaml"))
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")


def name_of(path: Path) -> str:
    return path.relative_to(recipes.CONFIGS).with_suffix("").as_posix()


def comment(path: Path) -> list[str]:
    """Return the lines of a recipe's opening comment, without their marks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line[1:].strip() for line in lines[:end]]


def groups_of(path: Path) -> tuple[type, ...]:
    nsp = any("run_nsp.py" in line for line in comment(path))
    return (NspArguments if nsp else DataArguments, ModelArguments, RunArguments)


def parsed(path: Path) -> parser.Arguments:
    return parser.parse(["--config", str(path)], groups_of(path), "usage")


@pytest.fixture(params=FILES, ids=name_of)
def recipe(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_file_under_configs_is_a_recipe_or_of_a_known_other_kind():
    others = {"accelerate", "sweeps"}
    every = [path for path in recipes.CONFIGS.rglob("*") if path.is_file()]
    assert [p for p in every if p.suffix != ".yaml"] == []
    expected = [p for p in every if p.relative_to(recipes.CONFIGS).parts[0] not in others]
    assert len(FILES) == len(expected) == len(recipes.recipe_names()) >= len(GLUE)
    assert sorted(recipes.recipe_names()) == sorted(map(name_of, FILES))


def test_it_parses_and_each_key_is_a_flag(recipe):
    seen = [entry.name for entry in recipes.read_recipe(recipe)]
    flags = {flag.name for group in groups_of(recipe) for flag in dataclass_flags(group)}
    assert seen and set(seen) <= flags | {flag.name for flag in training_flags()}
    assert parsed(recipe).invocation.given == set(seen)


def test_it_parses_without_a_notice(recipe, capsys):
    parsed(recipe)
    assert capsys.readouterr().err == ""


def test_its_comment_says_what_it_is_and_how_to_run_it(recipe):
    lines = comment(recipe)
    assert lines[0].endswith((".", "?", "!")) or ":" in lines[0] or "?" in lines[0]
    assert recipes.header(recipe) == lines[0]
    commands = [line for line in lines[lines.index("Command:") + 1 :] if "run_" in line]
    assert commands
    folder, stem = recipe.parent.name, recipe.stem
    accepted = (f"--task {stem}", f"configs/{folder}/{stem}.yaml")
    # run_nsp.py has a recipe that it takes when none is named.
    named = [command for command in commands if "run_nsp.py" not in command or "--config" in command]
    assert all(any(f"{name} " in f"{command} " for name in accepted) for command in named), commands
    if folder in ("tasks", "nsp"):
        assert any(line.startswith("Reproduces:") for line in lines)


def test_its_commands_parse(recipe, monkeypatch):
    monkeypatch.chdir(recipes.CONFIGS.parent)
    lines = comment(recipe)
    text = "\n".join(lines[lines.index("Command:") + 1 :]).replace("\\\n", " ")
    commands = [line for line in text.splitlines() if "run_classification.py" in line or "run_nsp.py" in line]
    for command in commands:
        argv = shlex.split(command, comments=True)
        script = next(i for i, word in enumerate(argv) if word.startswith("run_"))
        default = recipes.NSP_DEFAULT if argv[script] == "run_nsp.py" else None
        arguments = parser.parse(argv[script + 1 :], groups_of(recipe), "usage", default)
        assert arguments.invocation.recipe in (recipes.short_name(recipe), f"rte-{recipe.stem}", "")
        assert arguments.invocation.name.endswith(f"-{recipe.stem}") == recipes.is_preset(recipe)


def test_its_metrics_and_layout_exist(recipe):
    data = parsed(recipe)[groups_of(recipe)[0]]
    published = parsed(recipe)[RunArguments].published
    assert set(getattr(data, "metric_name", [])) <= set(METRICS)
    assert getattr(data, "data_layout", None) in (None, *LAYOUTS)
    if groups_of(recipe)[0] is DataArguments:
        assert set(published) <= set(data.metric_name)
    assert all(0 < float(value) <= 1 for value in published.values())
    assert bool(published) == bool(parsed(recipe)[RunArguments].published_source)


@pytest.mark.parametrize("task", GLUE)
def test_glue_carries_the_values_of_the_published_table(task):
    arguments = parsed(recipes.find_task(task))
    training, data, model = arguments.training, arguments[DataArguments], arguments[ModelArguments]
    assert training["learning_rate"] == 2e-5
    assert training["per_device_train_batch_size"] == 32
    assert training["num_train_epochs"] == (5 if task in ("mrpc", "wnli") else 3)
    assert data.max_seq_length == 128
    assert (data.dataset_name, data.dataset_config_name) == ("nyu-mll/glue", task)
    assert data.data_layout == f"glue/{task}"
    assert model.model_name_or_path == "google-bert/bert-base-cased"
    assert "selection_fraction" not in arguments.invocation.given


# Hugging Face, examples/pytorch/text-classification/README.md: bert-base-cased, GLUE dev, one seed.
@pytest.mark.parametrize(
    ("task", "published"),
    [
        ("cola", {"matthews_correlation": 0.5653}),
        ("sst2", {"accuracy": 0.9232}),
        ("mrpc", {"f1": 0.8885, "accuracy": 0.8407}),
        ("stsb", {"pearson": 0.8864, "spearmanr": 0.8848}),
        ("qqp", {"accuracy": 0.9071, "f1": 0.8749}),
        ("mnli", {"accuracy": 0.8391}),
        ("qnli", {"accuracy": 0.9066}),
        ("rte", {"accuracy": 0.657}),
        ("wnli", {"accuracy": 0.5634}),
    ],
)
def test_glue_shows_the_published_scores(task, published):
    assert parsed(recipes.find_task(task))[RunArguments].published == published


def test_presets_set_training_values_alone_and_go_on_top_of_every_task():
    presets = sorted((recipes.CONFIGS / "presets").glob("*.yaml"))
    assert {path.stem for path in presets} == {"devlin", "stable"}
    training = {flag.name for flag in training_flags()}
    for preset in presets:
        values = parsed(preset).training
        assert parsed(preset).invocation.given <= training
        for task in (recipes.CONFIGS / "tasks").glob("*.yaml"):
            # A preset is on top of the recipe wherever it stands.
            argv = ["--config", str(preset), "--task", task.stem]
            on_top = parser.parse(argv, groups_of(task), "usage")
            assert {name: on_top.training[name] for name in parsed(preset).invocation.given} == {
                name: values[name] for name in parsed(preset).invocation.given
            }
            assert Path(on_top.training["output_dir"]) == Path("runs") / f"{task.stem}-{preset.stem}"


@pytest.mark.parametrize("path", sorted((recipes.CONFIGS / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_sweeps_are_of_flags_and_their_values(path):
    schema = search_space.read(path, groups_of(recipes.find_task("rte")))
    assert len(search_space.grid(schema)) == 18
    assert recipes.header(path)
