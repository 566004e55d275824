"""Records of runs and the tables made from them."""

import pytest

from bertlab.data.labels import SINGLE
from bertlab.errors import UserError
from bertlab.report import run_folder
from tools import ledger, score_figure


def _entry(seed, value):
    scores = {"value": value, "low": 0.1, "high": 0.9, "n": 50}
    split = {"role": "validation", "rows": 50, "metrics": {"accuracy": scores}, "other": {"perplexity": 10.0 + seed}}
    return {
        "model": "small",
        "seed": seed,
        "splits": {"validation": {**split, "baselines": {"majority": {"accuracy": 0.5}}}},
        "recipe": "task",
        "settings": {"learning_rate": 1e-4, "model_name_or_path": "org/small"},
        "published": {"split": "validation", "values": {"accuracy": 0.9}, "source": "a paper, dev"},
    }


def test_a_table_has_mean_sd_and_interval_over_examples_and_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for seed, value in ((1, 0.65), (2, 0.7), (3, 0.75)):
        ledger.write_json(tmp_path / "task" / "small" / f"seed{seed}.json", _entry(seed, value))
    text = "before\n<!-- ledger task -->\nold figures\n<!-- end -->\nafter\n"
    made = ledger.with_tables(text)
    # Of examples and seeds: 0.7 - hypot(0.6, 4.303 * 0.05 / sqrt(3)), and 0.7 + hypot(0.2, the same).
    scores = "0.700 ± 0.050 (3) | 0.087 to 0.935 | majority class 0.500 | 0.9 (a paper, dev) |"
    assert f"| small | validation (50) | accuracy | {scores}" in made
    # Without an interval of its own: Student's t over three runs, 12 ± 4.303 / sqrt(3).
    assert "| small | validation (50) | perplexity | 12.000 ± 1.000 (3) | 9.516 to 14.484 | - | - |" in made
    assert "old figures" not in made
    assert ledger.with_tables(made) == made
    assert made.startswith("before\n")
    assert made.endswith("after\n")


def test_a_table_of_next_sentence_prediction_has_a_row_for_each_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for setting, seed, value in (("a", 1, 0.6), ("a", 2, 0.8), ("b", 1, 0.7)):
        entry = {**_entry(seed, value), "model": setting}
        split = entry["splits"]["validation"]
        split["by_source"] = {"next": {"n": 30, "accuracy": value}, "other_document": {"n": 20, "accuracy": value / 2}}
        split["baselines"] |= {name: {"accuracy": 0.5} for name in ("first_alone", "word_overlap")}
        split["baselines"]["second_alone"] = {"accuracy": 0.55}
        split["other"] |= {"mrr": value + 0.1, "recall_at_1": 0.25}
        ledger.write_json(tmp_path / "task" / setting / f"seed{seed}.json", entry)
    made = ledger.with_tables("<!-- nsp task -->\n<!-- end -->").splitlines()
    assert made[4].startswith("| a | 50 | 0.700 ± 0.141 (2) |")
    # Student's t of two differences, 0.1 and 0.3: 0.2 ± 12.706 * 0.1414 / sqrt(2).
    assert made[4].endswith("| 0.550 | - | 0.500 | +0.200 | -1.071 to +1.471 | 0.800 | 0.250 | 0.700 | 0.350 |")
    assert made[5].startswith("| b | 50 | 0.700 (1) |")
    assert "| 0.500 | +0.200 | - |" in made[5]


def test_a_curve_has_the_mean_loss_of_each_tenth_of_training(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    log = [{"step": step, "loss": 10.0 - step / 20} for step in range(5, 105, 5)] + [{"step": 100, "train_loss": 7.0}]
    kept = ledger.training_loss(log)
    assert kept[0] == (10, pytest.approx((9.75 + 9.5) / 2))
    assert kept[-1] == (100, pytest.approx((5.25 + 5.0) / 2))
    assert ledger.training_loss(log[:3]) == []
    for seed, less in ((1, 0.0), (2, 1.0)):
        entry = {**_entry(seed, 0.6), "training_loss": [(step, loss - less) for step, loss in kept]}
        ledger.write_json(tmp_path / "task" / "small" / f"seed{seed}.json", entry)
    made = ledger.with_tables("<!-- curve task/small -->\n<!-- end -->\n")
    assert "| training steps | to 10 | to 20 |" in made
    assert "| mean loss | 9.125 |" in made
    with pytest.raises(UserError, match="has no training loss"):
        ledger.curve("task/nothing")


def test_two_settings_are_set_beside_each_other_by_the_seeds_both_have(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for setting, values in {"a": (0.6, 0.7, 0.8), "b": (0.5, 0.7, 0.7)}.items():
        for seed, value in enumerate(values):
            ledger.write_json(tmp_path / "task" / setting / f"seed{seed}.json", _entry(seed, value))
    ledger.write_json(tmp_path / "task" / "b" / "seed9.json", _entry(9, 0.0))
    made = ledger.with_tables("<!-- paired task/a task/b -->\n<!-- end -->\n")
    assert (
        "| validation | accuracy | 0.7000 ± 0.1000 | 0.6333 ± 0.1155 | +0.0667 | -0.0768 to +0.2101 | 67% | 3 |" in made
    )
    with pytest.raises(UserError, match="share fewer than two seeds"):
        ledger.paired("task/a", "task/nothing")


def test_a_recipe_without_records_and_a_folder_that_is_no_run_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    with pytest.raises(UserError, match="no record of 'nothing'"):
        ledger.table("nothing")
    with pytest.raises(UserError, match="not a finished run"):
        ledger.record(tmp_path)


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("--seed", "--seed"),
        ("/a/b/data", "data"),
        ("/a/b/data/", "data"),
        ("~/data/CoLA", "CoLA"),
        ("~me/data/CoLA", "CoLA"),
        ("--train_file=/a/b.csv", "--train_file=b.csv"),
        ("train=~/b.csv", "train=b.csv"),
        (["/home/me/books/", "more/*.txt"], ["books", "more/*.txt"]),
        ({"1": "/home/me", "2": 3}, {"1": "me", "2": 3}),
        (str(ledger.ROOT / "runs/a/winner"), "runs/a/winner"),
        (f"--config={ledger.ROOT}/configs/tasks/cola.yaml", "--config=configs/tasks/cola.yaml"),
        *((same, same) for same in ("runs/x/", "me/bert-base", "package:name/model", "1=n/a", "/", "a/b=/", 0.5)),
    ],
)
def test_a_record_names_no_folder_of_the_machine(word, kept):
    assert ledger._without_folders(word) == kept


def _run(folder, model, seed=1, finished="now", text="books"):
    """Write what a finished run leaves behind, as far as a record needs it."""
    split = {"rows": 9, "labelled": 9, "from": "books", "fingerprint": "ab"}
    settings = {"model_name_or_path": model, "text": [text]}
    content = {"recipe": "task", "seed": seed, "command": ["run_nsp.py"], "configuration": settings, "plan": {}}
    content |= {"data": {"validation": split}, "finished": finished}
    content |= {part: {} for part in ("versions", "code", "machine", "seconds", "peak_memory_mb")}
    scores = {"role": "validation", "rows": 9, "metrics": {"accuracy": {"value": 0.5}}}
    ledger.write_json(folder / "run.json", content)
    ledger.write_json(
        folder / "results.json",
        {"problem_type": SINGLE, "splits": {"validation": scores}, "published": {}},
    )
    return str(folder)


@pytest.mark.parametrize(
    ("first", "second"),
    [("runs/a/winner", "runs/b/winner"), ("me/bert-base-uncased", "google-bert/bert-base-uncased")],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_two_models_of_one_last_part_are_told_apart(tmp_path, monkeypatch, capsys, first, second, seed):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    runs = [_run(tmp_path / "one", first), _run(tmp_path / "other", second, seed)]
    assert ledger.main(["record", runs[0]]) == 0
    assert ledger.main(["record", runs[0]]) == 0
    capsys.readouterr()
    assert ledger.main(["record", runs[1]]) == 2
    name = first.split("/")[-1]
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/results/task/{name}/seed1.json is the record of another run (settings: "
        "model_name_or_path). Name this one with --label, or delete that record.\n"
    )
    assert ledger.main(["record", runs[1], "--label", "other"]) == 0
    assert (tmp_path / f"results/task/other/seed{seed}.json").exists()


def test_records_of_two_machines_are_alike_and_a_replaced_one_is_told_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    here = _run(tmp_path / "one", "/home/me/models/small", text="/home/me/books/")
    there = _run(tmp_path / "other", "/data/small", 2, text="data/books")
    again = _run(tmp_path / "again", "/home/me/others/small", finished="later", text="~/books")
    assert ledger.main(["record", here, there]) == 0
    assert capsys.readouterr().err == ""
    assert "0.500" in ledger.table("task")
    path = tmp_path / "results/task/small/seed1.json"
    assert "home" not in path.read_text(encoding="utf-8")
    assert ledger.main(["record", again]) == 0
    assert f"info: {path} replaced: it was of a run that finished now. --label keeps" in capsys.readouterr().err


def test_a_finished_run_becomes_a_record(tmp_path, monkeypatch, capsys):
    import json

    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    run = tmp_path / "run"
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    content = {
        "recipe": "cola",
        "seed": 4,
        "command": ["run_classification.py", "--data_dir", "/home/me/CoLA"],
        "configuration": {"model_name_or_path": "package:weights/model"},
        "plan": {},
        "versions": {},
        "code": {},
        "data": {"validation": {"rows": 9, "labelled": 9, "from": "dev.tsv", "fingerprint": "ab", "dropped": 0}},
        "machine": {},
        "seconds": {},
        "peak_memory_mb": {},
        "finished": "now",
    }
    split = {
        "role": "validation",
        "rows": 9,
        "metrics": {"accuracy": score},
        "baselines": {"majority": {"metrics": {}}},
    }
    ledger.write_json(run / "run.json", content)
    ledger.write_json(
        run / "results.json",
        {"problem_type": SINGLE, "splits": {"validation": split}, "published": {}},
    )
    assert ledger.main(["record", str(run)]) == 0
    assert capsys.readouterr().out.strip() == "results/cola/weights/seed4.json"
    entry = json.loads((tmp_path / "results/cola/weights/seed4.json").read_text(encoding="utf-8"))
    assert entry["splits"]["validation"]["metrics"]["accuracy"] == score
    assert "/home" not in json.dumps(entry)


def test_a_models_table_has_a_row_for_each_recipe_beside_the_published_value(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for seed, value in ((1, 0.69), (2, 0.71)):
        ledger.write_json(tmp_path / "task" / "small" / f"seed{seed}.json", _entry(seed, value))
    ledger.write_json(tmp_path / "task" / "an_experiment" / "seed1.json", {**_entry(1, 0.6), "model": "an_experiment"})
    made = ledger.with_tables("<!-- model small -->\n<!-- end -->")
    scores = "validation (50) | accuracy | 0.700 ± 0.014 (2) | 0.087 to 0.937 | majority class 0.500"
    assert f"| task | {scores} | 0.9 (a paper, dev) |" in made
    assert "an_experiment" not in made
    assert "| an_experiment |" in ledger.table("task")
    assert ledger.with_tables(made) == made
    with pytest.raises(UserError, match="no record of 'other'"):
        ledger.of_model("other")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.8, 0.95, "not significantly different"),
        (0.5, 0.8, "significantly worse"),
        (0.91, 0.95, "significantly better"),
    ],
)
def test_the_headline_says_whether_the_interval_includes_the_published_value(tmp_path, monkeypatch, low, high, verdict):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    value = (low + high) / 2
    entry = _entry(1, value)
    entry["splits"]["validation"]["metrics"]["accuracy"] |= {"low": low, "high": high}
    ledger.write_json(tmp_path / "task" / "small" / "seed1.json", entry)
    ledger.write_json(tmp_path / "other" / "small" / "seed1.json", {**entry, "recipe": "other", "published": None})
    made = ledger.with_tables("<!-- headline small -->\n<!-- end -->")
    assert f"| task | accuracy | {value:.3f} (1) | {low:.3f} to {high:.3f} | 0.900, a paper | {verdict} |" in made
    assert "| other |" not in made


def test_the_picture_shows_the_scores_of_the_records():
    image = pytest.importorskip("PIL.Image")
    with image.open(score_figure.FIGURE) as picture:
        assert picture.info[score_figure.DESCRIPTION] == score_figure.description(ledger.scores_of(ledger.BASE_MODEL))


def test_no_mean_is_taken_over_unlike_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for seed, rate in ((1, 1e-4), (2, 2e-5)):
        entry = {**_entry(seed, 0.5), "settings": {"learning_rate": rate}}
        ledger.write_json(tmp_path / "task" / "small" / f"seed{seed}.json", entry)
    with pytest.raises(UserError, match=r"seed2.json are of unlike runs \(settings: learning_rate\)"):
        ledger.table("task")


def test_a_mean_over_split_seeds_is_one_over_other_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for seed in (42, 43):
        data, plan = {"validation": {"fingerprint": str(seed)}}, {"steps": seed}
        entry = {**_entry(seed, 0.5), "data": data, "plan": plan, "settings": {"split_seed": seed}}
        ledger.write_json(tmp_path / "task" / "small" / f"seed{seed}.json", entry)
    assert "| 0.500 ± 0.000 (2) | 0.500 to 0.500 |" in ledger.table("task")


def test_a_flag_that_only_one_record_names_is_at_its_default_in_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    plain = {"learning_rate": 1e-4, "streaming": False, "weight_decay": 0.0}
    for seed, settings in ((1, {"learning_rate": 1e-4}), (2, plain)):
        ledger.write_json(tmp_path / "task" / "small" / f"seed{seed}.json", {**_entry(seed, 0.5), "settings": settings})
    assert "0.500" in ledger.table("task")
    other = {**plain, "weight_decay": 0.3, "lora_rank": 8}
    ledger.write_json(tmp_path / "task" / "small" / "seed3.json", {**_entry(3, 0.5), "settings": other})
    with pytest.raises(UserError, match=r"unlike runs \(settings: lora_rank, weight_decay\)"):
        ledger.table("task")


def test_a_score_that_is_undefined_in_a_run_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    for model, values in {"some": (0.69, None, 0.71), "none": (None, None, None)}.items():
        for seed, value in enumerate(values):
            entry = _entry(seed, value)
            entry["splits"]["validation"] |= {"baselines": {"majority": {"accuracy": None}}, "other": {}}
            ledger.write_json(tmp_path / "task" / model / f"seed{seed}.json", entry)
    made = ledger.table("task")
    assert "| accuracy | 0.700 ± 0.014 (2) | 0.087 to 0.937 | - |" in made
    assert "| accuracy | - (0) | - | - |" in made
    with pytest.raises(UserError, match="fewer than two"):
        ledger.paired("task/some", "task/none")


def test_the_record_of_another_run_is_not_written_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    path = tmp_path / "results" / "seed1.json"
    data = {"train": {"rows": 9, "fingerprint": "ab"}}
    ledger.write_json(path, {**_entry(1, 0.5), "data": data})
    again = {**_entry(1, 0.7), "data": data}
    monkeypatch.setattr(ledger, "record", lambda run, label: (path, again))
    assert ledger.main(["record", str(tmp_path)]) == 0
    again = {**again, "data": {"train": {"rows": 9, "fingerprint": "cd"}}}
    assert ledger.main(["record", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {path} is the record of another run (data: train). "
        "Name this one with --label, or delete that record.\n"
    )


def test_a_suites_folder_stands_for_its_finished_runs(tmp_path):
    for name in ("rte/seed1", "rte/seed2", "demo/cola/seed1", "rte/seed3/checkpoint-5"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("rte/seed1", "rte/seed2", "demo/cola/seed1"):
        (tmp_path / name / "run.json").touch()
    found = [run.relative_to(tmp_path).as_posix() for run in run_folder.runs_in(tmp_path)]
    assert found == ["demo/cola/seed1", "rte/seed1", "rte/seed2"]
    assert run_folder.runs_in(tmp_path / "rte/seed1") == [tmp_path / "rte/seed1"]
