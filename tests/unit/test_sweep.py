"""Sweeps: what a file may say, what is tried, and that evaluation splits are opened once, for the best."""

import json
from pathlib import Path

import pytest
from many_runs import in_this_process, order, started
from running import QUIET, labelled_sentences, to_argv

from bertlab.__main__ import main
from bertlab.commands import jobs, run_specs, search_space
from bertlab.errors import UserError

GROUPS = run_specs.CLASSIFICATION.groups


def space_of(tmp_path: Path, text: str) -> search_space.Space:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return search_space.read(path, GROUPS)


def test_a_file_holds_choices_and_ranges(tmp_path):
    space = space_of(
        tmp_path, "learning_rate: {low: 1e-5, high: 1e-4, log: true}\nseed: {low: 1, high: 9}\nbf16: [no]\n"
    )
    assert space == {
        "learning_rate": search_space.Range(1e-5, 1e-4, True, False),
        "seed": search_space.Range(1, 9, False, True),
        "bf16": ("no",),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: [1]\n", "key 'learning_rat': no such flag. Did you mean 'learning_rate'?"),
        ("learning_rate: [1e-5, fast]\n", "key 'learning_rate': 'fast' is not a number."),
        ("learning_rate: [1e-5, 1e-5]\n", "key 'learning_rate': a choice is there twice."),
        ("learning_rate: 1e-5\n", "key 'learning_rate': not a list of choices, nor a range. Write a list of choices"),
        ("learning_rate: []\n", "not a list of choices, nor a range."),
        ("learning_rate: [[1e-5]]\n", "not a list of choices, nor a range."),
        ("learning_rate: {low: 1e-5}\n", "a range has low, high and perhaps log. Write a list"),
        ("learning_rate: {low: 1e-5, hihg: 1}\n", "a range has low, high and perhaps log."),
        ("learning_rate: {low: 1, high: 0.1}\n", "low 1 is not below high 0.1."),
        ("learning_rate: {low: 0, high: 0.1, log: true}\n", "a logarithmic range begins above 0, not at 0."),
        ("num_train_epochs: {low: -1, high: 3}\n", "-1 is out of range."),
        ("precision: {low: 1, high: 3}\n", "--precision is no number and has no range."),
        ("precision: [bf17]\n", "'bf17' is not one of its values. Did you mean 'bf16'?"),
        ("max_length: [9]\nmax_seq_length: [8]\n", "--max_seq_length is there twice."),
        ("{}\n", "nothing to sweep."),
        ("- a\n", "not a mapping of flags to values."),
    ],
)
def test_what_is_no_sweep_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        space_of(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))


def test_a_grid_has_every_combination_in_order():
    assert search_space.grid({"a": ("1", "2"), "b": ("x", "y")}) == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "y"},
    ]


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_what_is_asked_is_in_the_space_and_repeats_itself(tmp_path, kind):
    pytest.importorskip("optuna", reason="needs the extra `sweep`: pip install optuna")
    space = space_of(
        tmp_path, "learning_rate: {low: 1e-5, high: 1e-4, log: true}\nseed: {low: 1, high: 9}\nbf16: [no, yes]\n"
    )
    tried = [
        ({"learning_rate": rate, "seed": "4", "bf16": "no"}, score) for rate, score in (("3e-05", 0.5), ("1e-05", None))
    ]

    def ask(seed):
        return search_space.ask(search_space.open_study(space, kind, seed, tried), space, 5)

    assert ask(7) == ask(7) != ask(8)
    for values in ask(7):
        assert list(values) == list(space)
        assert 1e-5 <= float(values["learning_rate"]) <= 1e-4
        assert 1 <= int(values["seed"]) <= 9
        assert values["bf16"] in ("no", "yes")


def sweep(*typed: object) -> int:
    return main(["sweep", *map(str, typed)])


@pytest.fixture
def grid(stub: Path) -> Path:
    (stub / "mine.yaml").write_text("seed: [1, 2, 3]\n", encoding="utf-8")
    return stub


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "SWEEP is missing. A file like configs/sweeps/bert_paper.yaml, or its name."),
        (["bert_papre", "--task", "rte"], "there is no sweep 'bert_papre'. Did you mean 'bert_paper'?"),
        (["mine.yaml", "--task", "rte", "--seed", "3"], "--seed is swept in mine.yaml and given as a flag."),
        (
            ["old.yaml", "--task", "rte", "--warmup_ratio", "0.1"],
            "--warmup_steps is swept in old.yaml and given as a",
        ),
        (
            ["old.yaml", "--task", "rte", "--max-length=64"],
            "--max_seq_length is swept in old.yaml and given as a flag.",
        ),
        (["old.yaml", "--task", "rte", "--adafactor"], "--optim is swept in old.yaml and given as a flag."),
        (["old.yaml", "--task", "rte", "--no_tf32"], "--tf32 is swept in old.yaml and given as a flag."),
        (
            ["mine.yaml", "--task", "rte", "--no_do_eval"],
            "--do_eval cannot be used with many runs. Leave it out: trials train",
        ),
        (
            ["mine.yaml", "--task", "rte", "--do_eval"],
            "--do_eval cannot be used with many runs. Leave it out: trials train",
        ),
        (["mine.yaml", "--task", "rte", "--selection_fraction", "0"], "--selection_fraction 0 leaves only"),
        (["mine.yaml", "--task", "rte", "--trials", "3"], "--trials conflicts with --search grid: a grid is"),
        (["mine.yaml", "--task", "rte", "--search", "tpe"], "--search tpe requires --trials: the search has no end"),
        (["mine.yaml", "--task", "rte", "--serach", "tpe"], "--serach: no such flag. Did you mean 'search'?"),
        (["range.yaml", "--task", "rte"], "--seed has a range, and a grid needs choices."),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_starts(grid, capsys, typed, message):
    (grid / "range.yaml").write_text("seed: {low: 1, high: 3}\n", encoding="utf-8")
    swept = "warmup_steps: [0, 10]\nmax_length: [64, 128]\noptim: [adamw_torch, adafactor]\ntf32: [no, yes]\n"
    (grid / "old.yaml").write_text(swept, encoding="utf-8")
    assert sweep(*typed) == 2
    (printed,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("info:", "warning:"))]
    assert message in printed
    assert started(grid) == []


@pytest.mark.parametrize("name", ["selection_fraction", "metric_name", "train_file", "output_dir"])
def test_what_trials_share_is_a_flag_and_not_swept(grid, capsys, name):
    values = {"selection_fraction": "[0.1, 0.2]", "metric_name": "[accuracy, f1]"}.get(name, "[a, b]")
    (grid / "shared.yaml").write_text(f"seed: [1, 2]\n{name}: {values}\n", encoding="utf-8")
    flags = {"model_name_or_path": "m", "train_file": "t.csv", "devices": "cpu"}
    assert sweep("shared.yaml", *to_argv({key: value for key, value in flags.items() if key != name})) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: shared.yaml: --{name} cannot be swept. Take it out of the file, and pass it as a flag."
    )
    (grid / "shared.yaml").write_text("seed: [1, 2]\n", encoding="utf-8")
    assert sweep("shared.yaml", *to_argv({**flags, name: values.strip("[]").split(", ")[0]})) == 0


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("do_train", "Leave it out: trials train, and the winner is scored."),
        ("resume_from_checkpoint", "A second call resumes the first."),
        ("push_to_hub", "Leave it out, or pass --no_push_to_hub where a recipe has it; afterwards upload one run: "),
    ],
)
def test_what_is_refused_as_a_flag_is_refused_as_a_key(grid, capsys, key, hint):
    (grid / "mine.yaml").write_text(f"seed: [1, 2]\n{key}: [yes, no]\n", encoding="utf-8")
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu") == 2
    assert f"error: mine.yaml: --{key} cannot be swept. {hint}" in capsys.readouterr().err
    assert started(grid) == []


def test_trials_are_not_uploaded(grid, capsys):
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu", "--push_to_hub", "--hub_model_id", "me/x") == 2
    assert "error: --push_to_hub would have many runs replace each other" in capsys.readouterr().err
    assert started(grid) == []


@pytest.mark.parametrize(
    ("what", "how"), [("f1", "by different metrics, accuracy and F1 (micro)"), ("other rows", "on different rows")]
)
def test_trials_that_were_not_judged_alike_are_not_ranked(grid, capsys, what, how):
    order(grid, seed3=what)
    typed = ("mine.yaml", "--task", "rte", "--devices", "cpu")
    assert sweep(*typed) == 2
    folder = "runs/sweep/mine/rte"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {folder}/trial002 and {folder}/trial003 cannot be compared: they were judged {how}. "
        "Take flags that change data or metric out of the sweep, and name another --output_dir."
    )
    assert not (grid / folder / "winner").exists() and not (grid / folder / "sweep.json").exists()
    order(grid)
    assert sweep(*typed, "--output_dir", "other") == 0


def test_a_file_of_another_program_is_refused_before_anything_starts(grid, capsys):
    (grid / "out").mkdir()
    (grid / "out/sweep.json").write_text('{"method": "bayes"}', encoding="utf-8")
    typed = ("mine.yaml", "--task", "rte", "--devices", "cpu", "--output_dir")
    assert sweep(*typed, "out") == 2
    assert "error: out holds sweep.json of another program or version" in capsys.readouterr().err
    assert started(grid) == []
    assert sweep(*typed, "other") == 0
    assert sweep(*typed, "other") == 0


def test_a_trial_that_is_refused_leaves_nothing_to_go_on_with(grid, capsys):
    good = (grid / "mine.yaml").read_text(encoding="utf-8")
    (grid / "mine.yaml").write_text(f"{good}dataloader_prefetch_factor: [2]\n", encoding="utf-8")
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu") == 2
    assert (
        "--dataloader_prefetch_factor requires --dataloader_num_workers: there are no workers."
        in capsys.readouterr().err
    )
    (grid / "mine.yaml").write_text(good, encoding="utf-8")
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu") == 0
    assert len(started(grid)) == 4


def test_a_file_for_a_folder_is_one_line(grid, capsys):
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu", "--output_dir", "mine.yaml") == 2
    assert "--output_dir mine.yaml cannot be written" in capsys.readouterr().err
    assert started(grid) == []


def test_without_optuna_a_search_is_refused_in_one_line(grid, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    assert sweep("mine.yaml", "--task", "rte", "--search", "random", "--trials", "2") == 2
    assert capsys.readouterr().err.strip().endswith("which is not installed. pip install optuna")


def test_a_trial_that_is_killed_keeps_the_evaluation_splits_closed_until_it_is_done(grid, capsys):
    order(grid, seed2="kill")
    typed = ("mine.yaml", "--task", "rte", "--devices", "cpu")
    assert sweep(*typed) == 1
    folders = [f"runs/sweep/mine/rte/trial00{n}" for n in (1, 2, 3)]
    assert [line[0] for line in started(grid)] == folders
    printed = capsys.readouterr()
    assert "the evaluation splits stay closed: trials did not finish" in printed.err
    assert f"not finished: {folders[1]} was killed by signal 9" in printed.err
    order(grid)
    assert sweep(*typed) == 0
    assert [line[0] for line in started(grid)] == [folders[1], "runs/sweep/mine/rte/winner"]
    assert json.loads((grid / "runs/sweep/mine/rte/winner/run.json").read_text())["seed"] == 3
    assert sweep(*typed) == 0
    assert started(grid) == []
    (grid / "mine.yaml").write_text("seed: [1, 2, 4]\n", encoding="utf-8")
    assert sweep(*typed) == 2
    assert "trial003 holds a run made with other values: seed 3, now 4. Name another" in capsys.readouterr().err


@pytest.mark.slow
def test_real_trials_choose_on_the_selection_split_and_the_winner_alone_sees_the_reported_one(
    tmp_path, tiny_model, write_csv, monkeypatch, capsys
):
    monkeypatch.setattr(jobs, "run_all", in_this_process)
    monkeypatch.setattr("bertlab.report.writer._render", lambda *_: None)  # plots take longer than the training
    monkeypatch.chdir(tmp_path)
    for name, rows in (("train", 200), ("validation", 20)):
        write_csv(tmp_path / f"{name}.csv", ("text", "label"), labelled_sentences(rows, rows))
    (tmp_path / "mine.yaml").write_text("learning_rate: [1e-9, 3e-3]\n", encoding="utf-8")
    settings = {"train_file": "train.csv", "validation_file": "validation.csv", "per_device_train_batch_size": 8}
    typed = to_argv({**QUIET, **settings, "model_name_or_path": tiny_model, "output_dir": "out", "devices": "cpu"})
    assert sweep("mine.yaml", *typed) == 0
    report = json.loads((tmp_path / "out/sweep.json").read_text(encoding="utf-8"))
    assert [trial["values"]["learning_rate"] for trial in report["trials"]] == ["3e-3", "1e-9"]
    assert report["trials"][0]["score"] > report["trials"][1]["score"]
    assert {(row["recipe"], row["split"]) for row in report["winner"]} == {("train", "validation")}
    for number in (1, 2):
        results = json.loads((tmp_path / f"out/trial00{number}/results.json").read_text(encoding="utf-8"))
        assert results["splits"] == {}
        assert results["selection"]["rows"] == 20
        assert not (tmp_path / f"out/trial00{number}/predictions").exists()
        assert not list((tmp_path / f"out/trial00{number}").glob("checkpoint-*"))
    winner = json.loads((tmp_path / "out/winner/run.json").read_text(encoding="utf-8"))
    assert winner["configuration"]["learning_rate"] == 3e-3
    selection = json.loads((tmp_path / "out/winner/results.json").read_text(encoding="utf-8"))["selection"]
    assert selection["metrics"]["accuracy"] == report["trials"][0]["score"]  # the same training once more
    printed = capsys.readouterr().out
    assert "accuracy on selection" in printed
    assert "The best, on the evaluation splits:" in printed
    # A second call trains nothing and says the same.
    monkeypatch.setattr(jobs, "run_all", None)
    assert sweep("mine.yaml", *typed) == 0
    assert "The best, on the evaluation splits:" in capsys.readouterr().out


def test_a_trial_that_fails_for_a_reason_all_share_ends_the_sweep_and_one_of_its_own_does_not(grid, capsys):
    typed = ("mine.yaml", "--task", "rte", "--devices", "cpu")
    order(grid, seed1="refuse --max_seq_length 999: the model has 512 positions.")
    assert sweep(*typed) == 2
    assert len(started(grid)) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: runs/sweep/mine/rte/trial001 failed: --max_seq_length 999: the model has 512 positions. The other runs "
        "would fail as well, so none is started."
    )
    order(grid, seed1="refuse Lower --seed.")
    assert sweep(*typed) == 1
    assert len(started(grid)) == 3
    assert "not finished: runs/sweep/mine/rte/trial001 failed: Lower --seed.; see" in capsys.readouterr().err


def test_failed_trials_can_be_left_out_when_told_so(grid, capsys):
    order(grid, seed1="fail")
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu", "--allow_failures") == 1
    assert (grid / "runs/sweep/mine/rte/winner/run.json").exists()
    assert "trial001  1     -" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("tie", "all 3 trials have the same accuracy on the selection split, 0.5."),
        ("collapse", "the training loss of every trial is no better than that of a constant prediction."),
    ],
)
def test_where_no_trial_is_better_nobody_wins(what, why, grid, capsys):
    order(grid, seed1=what, seed2=what, seed3=what)
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu") == 0
    assert f"warning: no winner: {why}" in capsys.readouterr().err
    assert not (grid / "runs/sweep/mine/rte/winner").exists()
    (grid / "mine.yaml").write_text("seed: [1, 2, 3, 4]\n", encoding="utf-8")
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu") == 0
    assert (grid / "runs/sweep/mine/rte/winner/run.json").exists(), "the fourth is better, or has learned"


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_search_makes_as_many_trials_as_told_and_goes_on(grid, kind):
    pytest.importorskip("optuna", reason="needs the extra `sweep`: pip install optuna")
    (grid / "mine.yaml").write_text("learning_rate: {low: 1e-5, high: 1e-4, log: true}\nseed: [1, 2]\n")
    typed = ("mine.yaml", "--task", "rte", "--devices", "cpu", "--search", kind, "--trials", "4", "--jobs", "2")
    assert sweep(*typed) == 0
    folders = [f"runs/sweep/mine/rte/{name}" for name in ("trial001", "trial002", "trial003", "trial004", "winner")]
    assert [line[0] for line in started(grid)] == folders
    assert sweep(*typed) == 0
    assert started(grid) == []


RANGE = "learning_rate: {low: 1e-5, high: 1e-4}\nseed: [1, 2]\n"
TRIALS = '{"trials": [{"learning_rate": "5e-05", "seed": "1"}]}'


@pytest.mark.parametrize(
    ("text", "trials", "message"),
    [
        (RANGE.replace("1e-5", "9e-5"), TRIALS, "error: out holds the trials of another sweep ("),
        (RANGE.replace("[1, 2]", "[2]"), TRIALS, "error: out holds the trials of another sweep ("),
        ("seed: [1, 2]\n", TRIALS, "error: out holds the trials of another sweep ("),
        (RANGE, TRIALS.replace("5e-05", "fast"), "error: out holds the trials of another sweep ("),
        (RANGE, '{"trials": [7]}', "error: out holds the trials of another sweep ("),
        (RANGE, '{"trials": [', "error: out/trials.json cannot be read"),
    ],
)
def test_trials_from_outside_the_space_are_those_of_another_sweep(grid, capsys, text, trials, message):
    pytest.importorskip("optuna", reason="needs the extra `sweep`: pip install optuna")
    (grid / "out").mkdir()
    (grid / "out/trials.json").write_text(trials, encoding="utf-8")
    (grid / "mine.yaml").write_text(text, encoding="utf-8")
    words = ("--devices", "cpu", "--search", "tpe", "--trials", "2", "--output_dir", "out")
    assert sweep("mine.yaml", "--task", "rte", *words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(message) and error.endswith("Name another --output_dir.")
    assert (grid / "out/trials.json").read_text(encoding="utf-8") == trials
    assert started(grid) == []


def test_no_trial_is_added_once_the_report_splits_were_opened(grid, capsys):
    folder = grid / "runs/sweep/mine/rte"
    (folder / "winner").mkdir(parents=True)
    (folder / "winner/run.json").write_text("{}", encoding="utf-8")
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu") == 2
    assert "more trials would choose after the evaluation splits were opened" in capsys.readouterr().err
    assert started(grid) == []
    assert sweep("mine.yaml", "--task", "rte", "--devices", "cpu", "--output_dir", "other") == 0
