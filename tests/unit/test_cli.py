"""The command line: flags override recipes, old names are translated, and nothing is ignored."""

import contextlib
import dataclasses
import io
import json
import re
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertlab import __version__
from bertlab.__main__ import COMMANDS
from bertlab.__main__ import main as bertlab_main
from bertlab.cli import flag_rules, parser, recipes
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments, dataclass_flags
from bertlab.cli.flag_rules import REFUSED
from bertlab.cli.help import COMMON
from bertlab.cli.training_flags import TRAINING_DEFAULTS, training_flags
from bertlab.errors import UserError

GROUPS = (DataArguments, ModelArguments, RunArguments)
NSP_GROUPS = (NspArguments, ModelArguments, RunArguments)
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = recipes.recipe_names()


def parsed(*argv: str, groups: Sequence[type] = GROUPS) -> parser.Arguments:
    return parser.parse(argv, groups, "usage")


def value(flag: str, *argv: str) -> Any:
    """Return what the command line sets a flag to, whichever group it belongs to."""
    arguments = parsed(*argv)
    everything: dict[str, Any] = dict(arguments.training)
    for group in arguments.groups.values():
        everything.update(vars(group))
    return everything[flag]


def refusal(*argv: str) -> str:
    with pytest.raises(UserError) as caught:
        parsed(*argv)
    return str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., str]:
    def write(text: str, name: str = "mine.yaml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_flags_win_over_the_recipe_wherever_they_stand(recipe):
    path = recipe("learning_rate: 3e-5\nmax_seq_length: 64\n")
    assert value("learning_rate", "--config", path, "--learning_rate", "1e-4") == 1e-4
    assert value("learning_rate", "--learning_rate", "1e-4", "--config", path) == 1e-4
    assert value("max_seq_length", "--learning_rate", "1e-4", "--config", path) == 64


def test_a_tilde_is_the_home_wherever_the_shell_leaves_it(recipe, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert value("cache_dir", "--cache_dir=~/cache") == "/home/me/cache"
    assert value("train_file", "--config", recipe("train_file: ~/rows.csv\n")) == "/home/me/rows.csv"
    assert value("dataset_name", "--dataset_name=~/films") == "/home/me/films"
    assert value("dataset_name", "--dataset_name", "./films") == "./films"
    assert value("class_names", "--class_names", "~", "~a") == ["~", "~a"]


def test_later_recipes_win_over_earlier_ones(recipe):
    first, second = recipe("seed: 1\nmax_steps: 5\n", "first.yaml"), recipe("seed: 2\n", "second.yaml")
    arguments = parsed("--config", first, "--config", second)
    assert (arguments.training["seed"], arguments.training["max_steps"]) == (2, 5)
    assert arguments.invocation.recipe == "first"
    assert parsed("--config", second, "--config", first).training["seed"] == 1


def test_a_task_is_a_recipe_and_its_old_alias_is_known():
    by_task, by_alias = parsed("--task", "cola"), parsed("--task_name", "CoLA")
    assert by_task.invocation.recipe == by_alias.invocation.recipe == "cola"
    assert by_task[DataArguments] == by_alias[DataArguments]


@pytest.mark.parametrize(
    ("line", "flag", "expected"),
    [
        ("learning_rate: 2e-5", "learning_rate", 2e-5),
        ("weight_decay: 0", "weight_decay", 0.0),
        ("max_steps: 7", "max_steps", 7),
        ("stratify: no", "stratify", False),
        ("bf16: true", "bf16", True),
        ("text_column_names: [title, body]", "text_column_names", ["title", "body"]),
        ("text_column_names: title", "text_column_names", ["title"]),
        ("label_map: {1: negative, 2: positive}", "label_map", {"1": "negative", "2": "positive"}),
        ("class_names: [no, yes]", "class_names", ["no", "yes"]),
        ('delimiter: "\\t"', "delimiter", "\t"),
        ("report_to: [tensorboard, wandb]", "report_to", ["tensorboard", "wandb"]),
        ("lr_scheduler_kwargs: '{\"num_cycles\": 2}'", "lr_scheduler_kwargs", '{"num_cycles": 2}'),
        ("lr_scheduler_kwargs: {min_lr: 1e-6, a: no}", "lr_scheduler_kwargs", '{"min_lr": 1e-06, "a": "no"}'),
    ],
)
def test_values_of_a_recipe_have_the_type_of_their_flag(recipe, line, flag, expected):
    found = value(flag, "--config", recipe(line + "\n"))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("argv", "flag", "expected"),
    [
        (["--learning-rate", "1e-3"], "learning_rate", 1e-3),
        (["--learning_rate=1e-3"], "learning_rate", 1e-3),
        (["--max_steps", "-1"], "max_steps", -1),
        (["--do_regression"], "do_regression", True),
        (["--do_regression", "False"], "do_regression", False),
        (["--no_stratify"], "stratify", False),
        (["--no-dataloader-pin-memory"], "dataloader_pin_memory", False),
        (["--max_length", "32"], "max_seq_length", 32),
        (["--label_map", "1=a", "2=b c"], "label_map", {"1": "a", "2": "b c"}),
        (["--label_map", "1=a=b"], "label_map", {"1": "a=b"}),
        (["--text_column_names", "a", "b"], "text_column_names", ["a", "b"]),
        (["--warmup_steps", "0.1"], "warmup_steps", 0.1),
        (["--lr_scheduler_kwargs", "lr_end=1e-7", "power=2"], "lr_scheduler_kwargs", '{"lr_end": 1e-07, "power": 2}'),
        (["--lr_scheduler_kwargs", ' {"power": 2}'], "lr_scheduler_kwargs", '{"power": 2}'),
    ],
)
def test_words_of_the_command_line_become_values(argv, flag, expected):
    assert value(flag, *argv) == expected


def test_an_object_is_read_from_a_file_for_every_flag_of_json(tmp_path: Path):
    path = tmp_path / "power.json"
    path.write_text('{"power": 2}', encoding="utf-8")
    assert value("lr_scheduler_kwargs", "--lr_scheduler_kwargs", str(path)) == '{"power": 2}'
    path.write_text("[2]", encoding="utf-8")
    with pytest.raises(UserError, match="holds no JSON object"):
        value("lr_scheduler_kwargs", "--lr_scheduler_kwargs", str(path))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lerning_rate", "1"], "--lerning_rate: no such flag. Did you mean 'learning_rate'?"),
        (
            ["--learning_r", "1"],
            "--learning_r: no such flag. Did you mean 'learning_rate'? Flags are not abbreviated.",
        ),
        (["--no_learning_rate"], "--no_learning_rate: no such flag. Did you mean 'learning_rate'?"),
        (["--seed", "1", "--seed", "2"], "--seed is given twice: '--seed 1' and '--seed 2'. Keep one of them."),
        (
            ["--resume", "auto", "--resume_from_checkpoint", "true"],
            "--resume is given twice: '--resume auto' and '--resume_from_checkpoint true'.",
        ),
        (["--stratify", "--no_stratify"], "--stratify is given twice: '--stratify' and '--no_stratify'."),
        (
            ["--evaluation_strategy", "epoch", "--eval_strategy", "no"],
            "--eval_strategy is given twice: '--evaluation_strategy epoch' and '--eval_strategy no'.",
        ),
        (["--no_stratify", "true"], "--no_stratify takes no value. Write stratify with true or false instead."),
        (["cola"], "'cola' belongs to no flag. Write --task cola."),
        (["--learning_rate"], "--learning_rate needs a value. The initial learning rate for the optimizer."),
        (["--seed", "1,5"], "--seed: '1,5' is not a whole number. Random seed"),
        (["--max_steps", "1,000"], "--max_steps: '1,000' is not a whole number. Write 1000."),
        (["--learning_rate", "0,001"], "--learning_rate: '0,001' is not a number. Write 0.001."),
        (
            ["--seed", "1", "-learning_rate", "3e-5"],
            "-learning_rate: a flag begins with two dashes. Write --learning_rate.",
        ),
        (["--seed", "1", "-x"], "--seed takes one value, not 2: 1 -x. A flag begins with two dashes."),
        (["--max_steps", "1", "\u2013seed", "3"], "not 3: 1 \u2013seed 3. A flag begins with two dashes."),
        (["--published", "accuracy=high"], "--published accuracy: 'high' is not a number. Published values"),
        (["--published", "accuracy=nan"], "--published accuracy: 'nan' is not a finite number."),
        (["--task", "cola", "--task_name", "rte"], "--task is given twice: cola and rte. Each task is a run of its"),
        (["--train_file", ""], "--train_file needs a value. Training rows: CSV, TSV,"),
        (["--class_names", "a", ""], "--class_names needs a value."),
        (["--output_dir="], "--output_dir needs a value."),
        (["--seed", "1", "2"], "--seed takes one value, not 2: 1 2. Random seed"),
        (["--learning_rate", "fast"], "--learning_rate: 'fast' is not a number. The initial learning rate"),
        (["--seed", "1.5"], "--seed: '1.5' is not a whole number."),
        (["--max_seq_length", "x"], "is not a whole number. Longest input in tokens; longer ones are truncated."),
        (["--learning_rate", "-1"], "--learning_rate: -1 is out of range. It must be from 0 to 1."),
        (["--learning_rate", "2e5"], "2e5 is out of range. Did you mean 2e-5? It must be from 0 to 1."),
        (["--adam_epsilon", "1E+8"], "1E+8 is out of range. Did you mean 1e-8? It must be from 0 to 1."),
        (["--num_train_epochs", "300000"], "300000 is out of range. It must be above 0 and at most 10000."),
        (["--adam_beta1", "1.5"], "--adam_beta1: 1.5 is out of range. It must be from 0 to 0.999999."),
        (["--validation_fraction", "1"], "--validation_fraction: 1 is out of range. It must be from 0 to 0.9."),
        (["--quoting", "some"], "--quoting: 'some' is not one of its values. Choose from: auto, none, standard."),
        (["--problem_type", "regresion"], "--problem_type: 'regresion' is not one of its values."),
        (["--clean", "htm"], "--clean: 'htm' is not one of its values. Did you mean 'html'?"),
        (["--torch_compile_backend", "x"], "'x' is not one of its values. Choose from: inductor, cudagraphs"),
        (["--torch_compile_mode", "max"], "'max' is not one of its values. Did you mean 'max-autotune'?"),
        (["--optim", "AdamW"], "--optim: 'AdamW' is not one of its values. Did you mean 'adamw_torch'?"),
        (["--eval_strategy", "epochs"], "--eval_strategy: 'epochs' is not one of its values. Did you mean 'epoch'?"),
        (["--do_train", "maybe"], "--do_train: 'maybe' is neither true nor false."),
        (["--label_map", "1"], "--label_map: '1' is not of the form key=value. For example 1=negative 2=positive."),
        (["--label_map", "a=1,b=0"], "--label_map: 'a=1,b=0' is one pair. Separate pairs by spaces: a=1 b=0."),
        (["-learning_rate", "1"], "belongs to no flag. Write --learning_rate: a flag begins with two dashes."),
        (["--label_map", "1="], "--label_map: '1=' is not of the form key=value."),
        (["--label_map", "1=a", "1=b"], "--label_map: '1' is given twice: 'a' and 'b'. Keep one of them."),
        (["--task", "kola"], "--task kola: there is no such task. Did you mean 'cola'?"),
        (["--task", "cola", "rte"], "--task takes one name."),
        (["--task"], "--task takes one name. `python -m bertlab recipes` lists them."),
        (["--config", "nowhere.yaml"], "there is no recipe 'nowhere.yaml', and no such file in "),
        (["--warmup_ratio", "3"], "--warmup_ratio: 3 would be a number of steps. Write --warmup_steps for steps."),
        (["--save_safetensors", "0"], "weights are only ever saved as safetensors. Leave the flag out."),
    ],
)
def test_what_is_wrong_is_refused_with_a_way_out(argv, message):
    assert message in refusal(*argv)


OUT_OF_RANGE = {
    "learning_rate": ("-1e-5", "nan", "inf", "1.1"),
    "num_train_epochs": ("0", "-1"),
    "max_steps": ("0", "-2"),
    "per_device_train_batch_size": ("0", "65537"),
    "per_device_eval_batch_size": ("0",),
    "gradient_accumulation_steps": ("0", "65537"),
    "global_batch_size": ("0", "65537"),
    "warmup_steps": ("-1",),
    "eval_steps": ("0",),
    "save_steps": ("0",),
    "logging_steps": ("0",),
    "save_total_limit": ("0",),
    "seed": ("-1", "4294967296"),
    "weight_decay": ("-0.1", "10"),
    "adam_beta1": ("1",),
    "adam_beta2": ("1.5",),
    "adam_epsilon": ("-1e-8",),
    "max_grad_norm": ("-1",),
    "label_smoothing_factor": ("2",),
    "dataloader_num_workers": ("-1", "500"),
    "preprocessing_num_workers": ("0", "500"),
    "eval_accumulation_steps": ("0",),
    "eval_delay": ("-1",),
    "neftune_noise_alpha": ("-1",),
    "torch_empty_cache_steps": ("0",),
    "dataloader_prefetch_factor": ("0",),
    "ddp_timeout": ("0",),
    "classifier_dropout": ("1",),
    "validation_fraction": ("1",),
    "max_train_samples": ("0",),
    "early_stopping_patience": ("-1",),
    "split_seed": ("-1",),
}


@pytest.mark.parametrize(
    ("flag", "value"), [(flag, value) for flag, values in OUT_OF_RANGE.items() for value in values]
)
def test_a_number_out_of_range_is_refused(flag, value):
    said = refusal(f"--{flag}", value)
    assert said.startswith(f"--{flag}: ")
    assert "is out of range. It must be" in said or f"{value!r} is not a finite number." in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1\n", "key 'lerning_rate': no such flag. Did you mean 'learning_rate'?"),
        ("learning_rate: fast\n", "key 'learning_rate': 'fast' is not a number."),
        ("seed: [1, 2]\n", "key 'seed' takes one value, not 2: 1 2."),
        ("eval_strategy: epochs\n", "key 'eval_strategy': 'epochs' is not one of its values."),
        ("train_file: ''\n", "key 'train_file' needs a value. Training rows"),
        ("max_seq_length: 0\n", "key 'max_seq_length': 0 is out of range."),
        ("no_stratify: true\n", "key 'no_stratify' takes no value. Write stratify with true or false instead."),
    ],
)
def test_a_recipe_is_refused_with_its_file_and_key(recipe, text, message):
    path = recipe(text)
    said = refusal("--config", path)
    assert said.startswith(path) and message in said


def test_training_flags_are_the_fields_of_the_installed_training_arguments():
    from enum import Enum

    from transformers import TrainingArguments

    flags = {flag.name: flag for flag in training_flags()}
    fields = {field.name: field for field in dataclasses.fields(TrainingArguments)}
    assert list(flags) == list(fields)
    hints = typing.get_type_hints(TrainingArguments)
    for name, field in fields.items():
        hint = hints[name]
        union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        parts = [part for part in (typing.get_args(hint) if union else (hint,)) if part is not type(None)]
        plain = parts[0].__name__ if len(parts) == 1 and parts[0] in (bool, int, float) else "str"
        assert flags[name].kind == plain, name
        assert flags[name].many == any(typing.get_origin(part) is list for part in parts), name
        enums = [part for part in parts if isinstance(part, type) and issubclass(part, Enum)]
        told = tuple(field.metadata.get("choices", ()))  # what only the help page of TrainingArguments knows
        if not name.startswith("torch_compile_"):  # which accelerate and torch refuse, after the model is loaded
            assert set(flags[name].choices) == {m.value for part in enums for m in part} | set(told), name
        assert flags[name].is_json == any(part is dict or typing.get_origin(part) is dict for part in parts), name
        if isinstance(field.default, bool | int | float | type(None)):
            assert flags[name].default == field.default, name


@pytest.mark.parametrize("groups", [GROUPS, NSP_GROUPS])
def test_no_flag_of_ours_hides_a_training_argument(groups):
    ours = {flag.name for group in groups for flag in dataclass_flags(group)}
    assert ours & {flag.name for flag in training_flags()} == set()


@pytest.mark.parametrize("name", sorted({*flag_rules.RENAMED, *flag_rules.SWITCHES, *flag_rules.RETIRED}))
def test_old_names_are_no_flags_and_lead_to_ones_that_are(name):
    flags = {flag.name for group in GROUPS for flag in dataclass_flags(group)} | {f.name for f in training_flags()}
    assert name not in flags
    target = flag_rules.RENAMED.get(name) or flag_rules.SWITCHES.get(name, (None,))[0]
    assert target is None or target in flags


@pytest.mark.parametrize(("old", "new"), flag_rules.RENAMED.items())
def test_renamed_flags_are_taken_under_their_new_name(old, new, capsys):
    texts = {"no_cuda": "true", "warmup_ratio": "0.25", "evaluation_strategy": "epoch", "torchdynamo": "inductor"}
    text = texts.get(old, "4")
    assert value(new, f"--{old}", text) == value(new, f"--{new}", text)
    assert capsys.readouterr().err == f"info: --{old} is read as --{new} {text}.\n"


@pytest.mark.parametrize("name", flag_rules.SWITCHES)
@pytest.mark.parametrize("given", [[], ["true"], ["false"]])
def test_switches_of_old_become_one_value_of_a_flag(name, given, capsys):
    flag, when_true, when_false = flag_rules.SWITCHES[name]
    arguments = parsed(f"--{name}", *given)
    expected = when_false if given == ["false"] else when_true
    note = capsys.readouterr().err
    if expected is None:
        assert flag not in arguments.invocation.given
        assert note == f"info: --{name} is the default here.\n"
    else:
        assert arguments.training[flag] in (expected, [expected])
        assert note == f"info: --{name} is read as --{flag} {expected}.\n"


@pytest.mark.parametrize(("name", "reason"), flag_rules.RETIRED.items())
def test_retired_flags_are_passed_over_with_the_reason(name, reason, capsys):
    assert not parsed(f"--{name}", "true").invocation.given
    assert capsys.readouterr().err == f"warning: --{name} has no effect since transformers 5: {reason}.\n"


def test_a_notice_about_a_recipe_names_its_key(recipe, capsys):
    path = recipe("warmup_ratio: 0.1\n")
    assert value("warmup_steps", "--config", path) == 0.1
    assert f"{path}, line 1, key 'warmup_ratio' is read as --warmup_steps 0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("processes", "argv", "own"),
    [
        (1, ("--global_batch_size", "64"), 64),
        (8, ("--global_batch_size", "64"), 8),
        (4, ("--global_batch_size", "64", "--gradient_accumulation_steps", "2"), 8),
        (4, ("--per_device_train_batch_size", "8"), 8),
    ],
)
def test_the_batch_that_is_typed_replaces_a_recipes_and_is_that_of_all_processes(
    processes, argv, own, recipe, monkeypatch, capsys
):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    other = "global_batch_size" if argv[0] == "--per_device_train_batch_size" else "per_device_train_batch_size"
    arguments = parsed("--config", recipe(f"{other}: 16\n"), *argv)
    assert arguments.training["per_device_train_batch_size"] == own
    assert capsys.readouterr().err == ""
    written = parser.as_recipe(arguments.invocation.settings)
    assert other not in written
    assert parsed("--config", recipe(written)).training == arguments.training


@pytest.mark.parametrize(("processes", "text"), [(8, "32 keeps"), (3, "30 is nearest to")])
def test_a_batch_that_the_processes_multiply_is_told_with_the_flag_that_keeps_it(processes, text, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    parsed("--task", "cola")
    assert capsys.readouterr().err == (
        f"warning: each of {processes} processes has a batch of 32, which makes a global batch of {32 * processes}. "
        f"--global_batch_size {text} that of one process; --per_device_train_batch_size 32 takes the larger one "
        "without this warning.\n"
    )
    for kept in (("--global_batch_size", text[:2]), ("--per_device_train_batch_size", "32"), ("--do_eval",)):
        parsed("--task", "cola", *kept)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", SHIPPED)
def test_print_config_reads_back_as_the_same_run(name, recipe):
    path = recipes.CONFIGS / f"{name}.yaml"
    groups = NSP_GROUPS if "run_nsp.py" in path.read_text(encoding="utf-8") else GROUPS
    argv = ("--config", str(path), "--token", "hf_secret", "--hub_token", "hf_other", "--print_config")
    first = parsed(*argv, groups=groups)
    text = parser.as_recipe(first.invocation.settings)
    assert "hf_secret" not in text and "hf_other" not in text
    assert not {"token", "hub_token"} & set(yaml.safe_load(text))
    second = parsed("--config", recipe(text), groups=groups)
    assert second.invocation.settings == first.invocation.settings
    assert second[groups[0]] == first[groups[0]]
    assert dataclasses.replace(second[RunArguments], print_config=True) == first[RunArguments]


def test_print_config_keeps_texts_that_yaml_would_take_for_something_else(recipe):
    argv = ["--class_names", "no", "yes", "1e-3", "--delimiter", "\t", "--text_column_delimiter", " | "]
    argv += ["--label_map", "on=no", "1.0=yes", "--adam_epsilon", "1e-8", "--published_source", "a: b # c"]
    first = parsed(*argv)
    second = parsed("--config", recipe(parser.as_recipe(first.invocation.settings)))
    assert second[DataArguments] == first[DataArguments]
    assert second[RunArguments] == first[RunArguments]
    assert second.training == first.training
    assert all(isinstance(key, str) for key in yaml.safe_load(parser.as_recipe(first.invocation.settings)))


def test_print_config_keeps_a_delimiter_that_joins_with_nothing(recipe):
    first = parsed("--text_column_delimiter", "")
    assert first[DataArguments].text_column_delimiter == ""
    assert (
        parsed("--config", recipe(parser.as_recipe(first.invocation.settings)))[DataArguments] == first[DataArguments]
    )


@pytest.mark.parametrize(
    ("argv", "stages"),
    [
        ([], (True, True, True)),
        (["--do_eval"], (False, True, False)),
        (["--do_train", "--do_predict"], (True, False, True)),
        (["--do_train", "false"], (False, True, True)),
        (["--no_do_train", "--do_eval"], (False, True, False)),
    ],
)
def test_without_a_stage_all_three_happen(argv, stages):
    training = parsed(*argv).training
    assert tuple(training[stage] for stage in parser.STAGES) == stages


def test_our_defaults_differ_from_trainings_where_the_table_says():
    training = parsed().training
    assert {name: training[name] for name in TRAINING_DEFAULTS} == TRAINING_DEFAULTS
    assert parsed("--save_strategy", "no").invocation.given == {"save_strategy"}


def test_published_scores_stay_with_the_data_they_are_of(capsys):
    """A recipe's, that is; whoever types one knows what it is of."""
    assert parsed("--task", "cola")[RunArguments].published == {"matthews_correlation": 0.5653}
    run = parsed("--task", "cola", "--train_file", "own.csv")[RunArguments]
    assert (run.published, run.published_source) == ({}, None)
    assert "the published scores are of nyu-mll/glue and not of own.csv" in capsys.readouterr().err
    typed = parsed("--task", "cola", "--train_file", "own.csv", "--published", "accuracy=0.9")[RunArguments]
    assert typed.published == {"accuracy": 0.9}
    assert parsed("--task", "app_reviews", "--train_file", "own.csv")[RunArguments].published == {"accuracy": 0.888}


def help_page(main: Callable[[list[str]], int], *argv: str) -> list[str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as stop:
        main([*argv])
    assert stop.value.code == 0
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("argv", [[script, word] for script in ("train", "nsp") for word in ("-h", "--help-all")])
def test_a_help_page_has_80_columns(argv):
    assert max(map(len, help_page(bertlab_main, *argv))) <= 80


@pytest.mark.parametrize(("word", "shown"), [("help", "bertlab COMMAND"), ("-V", f"bertlab {__version__}")])
def test_the_words_for_help_and_version_of_other_programs_are_understood(word, shown, capsys):
    assert bertlab_main([word]) == 0
    assert capsys.readouterr().out.startswith(shown)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_help_of_a_command_shows_how_it_is_called(command):
    page = help_page(bertlab_main, command, "--help")
    called = {"train": "python run_classification.py", "nsp": "python run_nsp.py"}
    assert any(line.startswith(f"    {called.get(command, f'bertlab {command}')}") for line in page)
    assert max(map(len, page)) <= 80


def test_help_shows_the_common_flags_and_names_the_way_to_all():
    pages = {script: help_page(bertlab_main, script, "--help") for script in ("train", "nsp")}
    shown = {script: {line.split()[0] for line in page if line.startswith("  --")} for script, page in pages.items()}
    assert all(len(names) <= 32 for names in shown.values())
    assert {f"--{name}" for names in COMMON.values() for name in names} == shown["train"] | shown["nsp"]
    assert all("--help-all shows all" in page[-1] for page in pages.values())
    assert {"--task", "--class_weights"} <= shown["train"] - shown["nsp"]


def test_help_shows_the_values_of_the_recipe_as_defaults():
    page = " ".join(" ".join(help_page(bertlab_main, "nsp", "--help")).split())
    assert "The initial learning rate for the optimizer. [3e-5]" in page
    page = " ".join(" ".join(help_page(bertlab_main, "train", "--task", "mrpc", "--help")).split())
    assert "Total number of training epochs to perform. [5]" in page


@pytest.mark.launch
def test_help_lists_every_flag_at_once_without_the_heavy_libraries():
    probe = (
        "import sys, json\n"
        "sys.argv = ['run_classification.py', '--help-all']\n"
        "import run_classification\n"
        "try: status = run_classification.main()\n"
        "except SystemExit as stop: status = stop.code\n"
        "heavy = [n for n in ('torch', 'transformers', 'datasets', 'sklearn', 'pandas') if n in sys.modules]\n"
        "print(json.dumps([status, heavy]))\n"
    )
    run = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    *page, last = run.stdout.splitlines()
    status, heavy = json.loads(last)
    assert (status, heavy, run.stderr) == (0, [], "")
    flags = [*training_flags(), *(flag for group in GROUPS for flag in dataclass_flags(group))]
    shown = {line.split()[0] for line in page if line.startswith("  --")}
    refused = {"use_liger_kernel", "eval_do_concat_batches", "hub_always_push"}  # three of those that no run takes
    assert {f"--{flag.name}" for flag in flags} | {"--task", "--config"} == shown | {f"--{name}" for name in REFUSED}
    assert refused < REFUSED and "hub_strategy" not in REFUSED and not {f"--{name}" for name in REFUSED} & shown
    of_sampling = "\n".join(page).split("--train_sampling_strategy")[1].split("\n  --")[0]
    assert "[group_by_length]" in of_sampling and "(default)" not in of_sampling  # that would be transformers'


@pytest.mark.launch
def test_an_error_is_one_line_and_status_2_without_a_traceback():
    run = subprocess.run(
        [sys.executable, "run_classification.py", "--task", "kola"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr == "error: --task kola: there is no such task. Did you mean 'cola'?\n"


RULED = (
    ("--prediction_loss_only", "--prediction_loss_only is not supported: scores need the predictions. Leave it out."),
    ("--eval_do_concat_batches false", "--eval_do_concat_batches false is not supported: scores are of whole splits"),
    (
        "--no_do_train --do_eval false --do_predict false",
        "--do_train false requires --do_eval or --do_predict: there is",
    ),
    ("--bf16 --fp16", "--bf16 conflicts with --fp16: a run has one precision. Leave one of them out."),
    ("--fp16 --precision bf16", "--fp16 conflicts with --precision bf16: a run has one precision."),
    ("--resume auto --overwrite_output_dir", "--resume conflicts with --overwrite_output_dir: one continues what"),
    (
        "--dataloader_drop_last --gradient_accumulation_steps 2",
        "conflicts with --gradient_accumulation_steps: it drops",
    ),
    ("--dataloader_persistent_workers", "--dataloader_persistent_workers requires --dataloader_num_workers: there"),
    ("--early_stopping_threshold 0.1", "--early_stopping_threshold requires --early_stopping_patience: nothing stops"),
    ("--early_stopping_patience 2", "--early_stopping_patience requires --selection_fraction: evaluation splits"),
    ("--selection_fraction 0.1 --save_strategy no", "--selection_fraction conflicts with --save_strategy no: the best"),
    ("--activation_checkpointing_kwargs offload=true", "--activation_checkpointing_kwargs requires --activation_check"),
    ("--freeze_encoder --reinit_layers 1", "--freeze_encoder conflicts with --reinit_layers: the new layers would"),
    ("--freeze_encoder --layerwise_lr_decay 0.9", "--freeze_encoder conflicts with --layerwise_lr_decay: only the"),
    ("--lora_rank 2 --freeze_encoder", "--lora_rank conflicts with --freeze_encoder: LoRA trains the layers"),
    ("--lora_rank 2 --reinit_layers 1", "--lora_rank conflicts with --reinit_layers: LoRA freezes layers, so new ones"),
    ("--lora_alpha 8", "--lora_alpha requires --lora_rank: there is no adapter. Add --lora_rank 8."),
    ("--lora_merge", "--lora_merge requires --lora_rank: there is no adapter. Add --lora_rank 8."),
    ("--do_regression --problem_type single_label_classification", "requires --problem_type auto or regression: both"),
    ("--class_names a b --do_regression", "--class_names conflicts with --do_regression: regression takes numbers as"),
    ("--label_delimiter ; --do_regression", "--label_delimiter conflicts with --do_regression: it separates several"),
    ("--dataloader_prefetch_factor 2", "--dataloader_prefetch_factor requires --dataloader_num_workers: there are no"),
    ("--hub_benchmark_task t --push_to_hub", "--hub_benchmark_task requires --dataset_name: benchmarks are data sets"),
    ("--hub_benchmark_task t --dataset_name a/b", "--hub_benchmark_task requires --push_to_hub: nothing is uploaded."),
    ("--push_run_files_to_hub", "--push_run_files_to_hub requires --push_to_hub: nothing is uploaded."),
    ("--push_to_hub --do_train false", "--push_to_hub conflicts with --do_train false: no model is trained that could"),
    ("--hub_strategy checkpoint", "--hub_strategy checkpoint is not supported: a checkpoint names paths of this"),
    ("--shuffle_buffer 5", "only a stream has a buffer. Add --streaming, or leave --shuffle_buffer out."),
    ("--streaming", "--streaming requires --max_steps: a stream has no known length. Add --max_steps 1000."),
    ("--streaming --max_steps 9 --test_fraction 0.1", "--streaming conflicts with --test_fraction: a stream is"),
    ("--threshold f1", "--threshold requires --selection_fraction: evaluation splits must not decide."),
    ("--streaming --max_steps 9 --class_weights balanced", "--streaming conflicts with --class_weights: labels are"),
    ("--streaming --max_steps 9 --dataloader_num_workers 2", "each worker would read every row."),
    (
        "--streaming --max_steps 9 --train_sampling_strategy batch_rebalance",
        "--streaming conflicts with --train_sampling_strategy batch_rebalance: it needs all lengths.",
    ),
)
NSP_RULED = (
    ("--class_weights balanced", "--class_weights conflicts with --objective nsp: it is for classification."),
    ("--objective mlm --label_smoothing_factor 0.1", "--label_smoothing_factor conflicts with --objective mlm: masked"),
    ("--from_scratch --model_name_or_path m --new_head", "--from_scratch conflicts with --new_head: all weights are"),
    ("--from_scratch --train_tokenizer 200 --config_name c", "it is not read. Pass its values with --model_config."),
    ("--from_scratch", "--from_scratch requires --train_tokenizer or --tokenizer_name or --model_name_or_path: it"),
    ("--train_tokenizer 200", "--train_tokenizer requires --from_scratch: a checkpoint has its own."),
    ("--model_config hidden_size=8", "--model_config requires --from_scratch: a checkpoint has its own."),
    ("--from_scratch --train_tokenizer 200 --tokenizer_name t", "--train_tokenizer conflicts with --tokenizer_name: a"),
    ("--whole_word_masking", "requires --objective mlm or nsp+mlm: nothing is masked. Add --objective mlm or nsp+mlm,"),
    ("--mlm_probability 0.3", "--mlm_probability requires --objective mlm or nsp+mlm: nothing is masked."),
    ("--short_seq_probability 0.5", "requires --pairs segments or --objective mlm: others are not packed. Add --pairs"),
    ("--pairs one_per_document --negatives same_document", ": those need two pairs of a document. Pass --pairs all."),
    ("--sentence_splitter period --language de", "--language requires --sentence_splitter sentencex: other splitters"),
)


# For a flag that a hint names without a value.
VALUES = {"--dataloader_num_workers": "2", "--early_stopping_patience": "2", "--dataset_name": "a/b"}


def obedient(words: list[str], error: str) -> list[str]:
    """Return a command line with the flag that the hint of a refusal adds, or without the one that it leaves out."""
    added = re.search(r"[Aa]dd (--\w+)(?: ([\w.+]*\w))?", error) or re.search(r"Pass (--\w+) ([\w.]*\w)", error)
    if added:
        name, value = added.groups()
        given = [name, *filter(None, [VALUES.get(name) if value in (None, "or") else value])]
    else:
        given = []
        itself, other = re.match(r"--\w+", error), re.search(r"conflicts with (--\w+)", error)
        assert itself is not None
        name = itself[0] if "Leave it out" in error or not other else other[1]
    parts = re.findall(r"--\w+(?: (?!--)\S+)*", " ".join(words))
    return [word for part in parts if part.split()[0] != name for word in part.split()] + given


def assert_obeying_helps(words: list[str], groups) -> None:
    """Do what the hints say, one after the other, until the command line is accepted."""
    refusals: list[str] = []
    while len(refusals) < 4:
        try:
            assert parsed(*words, groups=groups)
            return
        except UserError as error:
            assert str(error) not in refusals
            refusals.append(str(error))
            words = obedient(words, refusals[-1])
    raise AssertionError(refusals)


@pytest.mark.parametrize(("typed", "message"), RULED)
def test_flags_that_require_or_exclude_others_are_refused(typed, message):
    assert message in refusal(*typed.split())
    assert_obeying_helps(typed.split(), GROUPS)


@pytest.mark.parametrize(("typed", "message"), NSP_RULED)
def test_flags_of_nsp_that_require_or_exclude_others_are_refused(typed, message):
    model = [] if "--from_scratch" in typed else ["--model_name_or_path", "m"]
    with pytest.raises(UserError) as caught:
        parsed(*model, *typed.split(), groups=NSP_GROUPS)
    assert message in str(caught.value)
    assert_obeying_helps([*model, *typed.split()], NSP_GROUPS)


def test_a_run_without_a_model_says_so():
    with pytest.raises(UserError, match="no model is named"):
        parsed("--text", "a.txt", groups=NSP_GROUPS)


@pytest.mark.parametrize(
    ("typed", "groups"),
    [
        ("--freeze_encoder --reinit_layers 0", GROUPS),
        ("--bf16 --precision bf16", GROUPS),
        ("--streaming --max_steps 9", GROUPS),
        ("--early_stopping_patience 2 --early_stopping_threshold 0.1 --selection_fraction 0.1", GROUPS),
        ("--from_scratch --tokenizer_name there", NSP_GROUPS),
        ("--whole_word_masking --objective mlm --model_name_or_path m", NSP_GROUPS),
        ("--short_seq_probability 0.5 --objective mlm --model_name_or_path m", NSP_GROUPS),
    ],
)
def test_flags_that_go_together_pass(typed, groups):
    assert parsed(*typed.split(), groups=groups)


def test_every_rule_is_about_flags_of_a_script():
    scripts = [parser.flags_of(groups) for groups in (GROUPS, NSP_GROUPS)]
    for rule in flag_rules.RULES:
        names = {name for name, _ in flag_rules.rule_flags(f"{rule.flags} {rule.others}")}
        assert any(names <= flags.keys() for flags in scripts), rule


@pytest.mark.parametrize(
    ("given", "resume"), [("True", "must"), ("false", "never"), ("runs/x/checkpoint-8", "runs/x/checkpoint-8")]
)
def test_resume_from_checkpoint_is_resume(given, resume):
    arguments = parsed("--resume_from_checkpoint", given)
    assert arguments[RunArguments].resume == resume
    assert "resume_from_checkpoint" not in arguments.training


@pytest.mark.parametrize(
    ("typed", "ignored", "source"),
    [
        ("--task rte --data_dir RTE --label_column_name y", "--label_column_name", "--data_dir RTE"),
        ("--task rte --data_dir RTE --text-column-names x", "--text_column_names", "--data_dir RTE"),
        ("--task rte --data_dir RTE --delimiter ;", "--delimiter", "--data_dir RTE"),
        ("--task rte --data_dir RTE --column_names text label", "--column_names", "--data_dir RTE"),
        ("--task rte --data_dir RTE --dataset_name a/b", "--dataset_name", "--data_dir RTE"),
        ("--train_file a.csv --data_dir D", "--data_dir", "--train_file a.csv"),
        ("--train_file a.csv --data_layout glue/cola", "--data_layout", "--train_file a.csv"),
        ("--task rte --test_file a.csv --dataset_name a/b", "--dataset_name", "--test_file a.csv"),
        ("--task rte --data_layout glue/cola", "--data_layout", "--dataset_name nyu-mll/glue"),
        ("--dataset_name a/b --encoding cp1252", "--encoding", "--dataset_name a/b"),
        ("--dataset_name a/b --column_names text label", "--column_names", "--dataset_name a/b"),
    ],
)
def test_a_typed_flag_that_the_source_of_the_data_does_not_read_is_refused(typed, ignored, source):
    with pytest.raises(UserError) as caught:
        parsed(*typed.split())
    assert str(caught.value) == (f"{ignored} would be ignored: the data is that of {source}. Leave one of the two out.")


@pytest.mark.parametrize(
    "typed",
    [
        "--task rte --train_file a.csv --text_column_names x y --delimiter ;",
        "--task rte --data_dir RTE --encoding cp1252",
        "--task rte --label_column_name label",
        "--task cola_public --data_dir raw",
    ],
)
def test_what_a_recipe_knows_of_another_source_is_no_fault(typed):
    assert parsed(*typed.split()).training["do_train"]
