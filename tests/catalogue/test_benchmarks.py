"""The benchmarks' shared parts do what they say, and each runs with little work and a small model."""

import gzip
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import drawing, labelled_sentences, read_json, save_classifier, subprocess_of

from benchmarks import gpu, measure, peers, stages, tried
from bertlab.training import memory
from tools import benchmark_tables

RATES = {measure.OURS: [10.0, 30.0, 20.0], "other": [5.0, 10.0, 20.0]}


def test_cases_take_turns():
    seen: list[str] = []
    cases = {name: lambda name=name: float(len(seen.append(name) or seen)) for name in "ab"}
    assert measure.in_turns(cases, 2) == {"a": [1.0, 3.0], "b": [2.0, 4.0]}
    assert seen == ["a", "b", "a", "b"]


def test_ratios_are_taken_round_by_round():
    assert measure.ratios(RATES) == {"other": {"median": 2.0, "min": 1.0, "max": 3.0}}


def test_a_table_is_made_from_the_file(tmp_path: Path, capsys):
    where = measure.Options(tmp_path, 3, False, tmp_path)
    figures = {"training": measure.compared(RATES, "examples/s", {"other": 1.5}), "padding": {"random": 0.5}}
    measure.write(where, "made", figures, rounds=3)
    assert "2.00 (1.00 to 3.00)" in capsys.readouterr().out
    assert {"machine", "versions", "code", "training", "padding"} <= set(read_json(tmp_path / "made.json"))
    measure.write(measure.Options(tmp_path, 3, False, tmp_path, "a-base-size/model"), "made", figures, rounds=3)
    assert (tmp_path / "made_base.json").is_file()
    text = benchmark_tables.markdown("made", tmp_path)
    assert "| other | 10 (5 to 20) | 2 (1 to 3) | 1.5 |" in text
    assert "| padding | random | 0.5 |" in text


def test_figures_of_the_same_things_share_a_table(tmp_path: Path):
    about = {"code": {}, "rounds": 1, "machine": {}, "versions": {}}
    figures = {
        "MB": {"a": 1, "b": 2},
        "parts": {"a": {"x": 3}, "c": {"y": 4}},
        "limit": 5,
        "none": {},
        "seconds": {"a": 6, "b": 7},
    }
    (tmp_path / "made.json").write_text(json.dumps({**about, **figures}), encoding="utf-8")
    text = benchmark_tables.markdown("made", tmp_path)
    assert "|  | MB | seconds |\n| --- | --- | --- |\n| a | 1 | 6 |\n| b | 2 | 7 |\n" in text
    assert "| parts | x | y |\n| --- | --- | --- |\n| a | 3 |  |\n| c |  | 4 |\n" in text
    assert "| limit |  | 5 |" in text


def test_the_speed_of_the_contestants_and_the_details_are_two_tables(tmp_path: Path):
    about = {"code": {}, "rounds": 3, "machine": {}, "versions": {}}
    comparison = measure.compared(RATES, "examples/s", {"other": 1.5})
    figures = {"training": comparison, "memory": dict.fromkeys(RATES, 7), "padding": {"random": 0.5}}
    (tmp_path / "made.json").write_text(json.dumps({**about, **figures}), encoding="utf-8")
    speed, details = (benchmark_tables.markdown(f"made {part}", tmp_path) for part in ("speed", "details"))
    assert "| other | 10 (5 to 20) | 2 (1 to 3) |\n" in speed
    assert "| memory | bertlab | 7 |" in speed
    assert "padding" not in speed
    assert "| training | other | 1.5 | 2 |" in details
    assert "memory" not in details
    assert "| padding | random | 0.5 |" in details


@pytest.mark.parametrize(("rounds", "said"), [(1, "; 1 round."), (3, "; 3 rounds."), (None, "commit 01234567.")])
def test_the_rounds_are_told_where_all_cases_had_as_many(rounds, said, tmp_path: Path):
    about = {"code": {"commit": "0123456789"}, "rounds": rounds, "machine": {}, "versions": {}, "limit": 5}
    (tmp_path / "made.json").write_text(json.dumps(about), encoding="utf-8")
    assert benchmark_tables.markdown("made", tmp_path).endswith(f"{said}\n")


@pytest.mark.parametrize(("changed", "remark"), [(True, ", with changes"), (False, ""), (None, "")])
def test_a_table_says_of_code_that_was_not_committed(tmp_path: Path, changed: bool | None, remark: str):
    about = {"code": {"commit": "0123456789", "changed": changed}, "rounds": 1, "machine": {}, "versions": {}}
    (tmp_path / "made.json").write_text(json.dumps(about), encoding="utf-8")
    assert f"; commit 01234567{remark}; 1 round." in benchmark_tables.markdown("made", tmp_path)


def test_a_benchmark_that_was_not_run_says_so(tmp_path: Path):
    assert "python -m benchmarks.none" in benchmark_tables.markdown("none", tmp_path)


def test_without_data_a_benchmark_says_what_to_name(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.delenv("BERTLAB_DATA", raising=False)
    with pytest.raises(SystemExit) as stopped:
        measure.options("About.", [])
    assert stopped.value.code == 2
    assert "BERTLAB_DATA" in capsys.readouterr().err


@pytest.mark.slow
def test_the_gpu_benchmark_adds_a_line_for_each_cell_and_says_what_it_did_not_reach(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    every, folder = gpu.cells(), tmp_path / "rented"
    names = ["bf16 matrix product", *(f"{who}, CoLA" for who in (gpu.HF_BEST, gpu.OURS)), "CoLA, from command to end"]
    monkeypatch.setattr(measure, "WEIGHTS", str(tiny_model))
    monkeypatch.setattr(gpu, "COLA_ROWS", 96)
    monkeypatch.setattr(gpu, "LONG_ROWS", 16)
    monkeypatch.setattr(gpu, "subprocess", SimpleNamespace(run=_run_in_this_process))
    flags = [str(folder), "--device", "cpu", "--shape", "tiny", "--results", str(tmp_path)]
    monkeypatch.setattr(gpu, "cells", lambda: {**{name: every[name] for name in names}, "broken": (_broken,)})
    assert gpu.main(flags) == 0
    assert "every cell was reached" in capsys.readouterr().out
    lines = [json.loads(line) for line in (folder / "gpu.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["cell"] for line in lines] == ["about", *names, "broken"]
    assert [line["failed"] for line in lines if "failed" in line] == ["out of memory"]
    found = read_json(tmp_path / "gpu.json")
    assert set(found["examples/s"]) == {*names[1:3]}
    assert 0 < found["seconds of training"][names[3]] < found["seconds from command to end"][names[3]]
    monkeypatch.setattr(gpu, "cells", lambda: every)
    assert gpu.main([*flags, "--seconds", "0"]) == 0
    assert capsys.readouterr().out.startswith("not reached: example scripts, defaults, CoLA; example scripts, defaults")
    assert "| examples/s |" in benchmark_tables.markdown("gpu", tmp_path).replace("|  |", "|")


def _broken(_: gpu.Place) -> dict[str, float]:
    raise RuntimeError("out of memory")


def test_the_gpu_benchmark_names_the_packages_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(SystemExit, match=r"not installed here: no_such_package\. .*wheels\.txt lists what to install"):
        gpu.main([str(tmp_path)])


def _run_in_this_process(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    import run_classification

    with drawing(False):
        return subprocess.CompletedProcess(command, run_classification.main(command[2:]), stderr="")


@pytest.fixture(scope="module")
def long_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT that reads 512 tokens, as the peers' values ask for."""
    from transformers import AutoConfig, AutoTokenizer, BertModel

    folder = tmp_path_factory.mktemp("long-bert")
    BertModel(AutoConfig.from_pretrained(tiny_model, max_position_embeddings=512)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model, model_max_length=512).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def downloads(write_csv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that is laid out as the downloads are, with a few sentences of our own."""
    folder = tmp_path_factory.mktemp("downloads")
    cola = folder / "glue" / "CoLA"
    cola.mkdir(parents=True)
    for name, rows in (("train", 96), ("dev", 40)):
        lines = [f"ab12\t{int(label == 'good')}\t\t{text}\n" for text, label in labelled_sentences(rows, seed=rows)]
        (cola / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    (cola / "test.tsv").write_text("index\tsentence\n0\tA dog ran.\n", encoding="utf-8")
    texts = [[text] for text, _ in labelled_sentences(40, seed=3)]
    write_csv(folder / "app_reviews" / "reviews.csv", ("content",), texts)
    plain = write_csv(folder / "imdb" / "plain.csv", ("review",), texts)
    (folder / "imdb" / "IMDB Dataset.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return folder


ONE = {"freed memory returned to the system": tried.CHOICES["freed memory returned to the system"]}


# What is measured in processes of its own would take longer than all the rest.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "elsewhere", "titles"),
    [
        ("training", {"memory_in_own_process": lambda *_: 1.0}, ("training", "evaluation")),
        (
            "tried",
            {"in_own_process": lambda *_: 1.0, "compiled": lambda *_: {}, "CHOICES": ONE},
            ("one choice, short rows",),
        ),
        ("prediction", {}, ("prediction",)),
        ("tokenization", {}, ("tokenization, CoLA", "tokenization, reviews")),
        ("growth", {}, ()),
        ("step", {}, ()),
        ("precision", {}, ("training in bf16, short rows", "evaluation in bf16, rows of 128 tokens")),
    ],
)
def test_a_benchmark_runs(
    name: str, elsewhere, titles, long_model: Path, downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # which one of them sets: this puts it back
    module = importlib.import_module(f"benchmarks.{name}")
    for attribute, value in elsewhere.items():
        monkeypatch.setattr(module, attribute, value)
    for one in (measure, peers):
        monkeypatch.setattr(one, "WEIGHTS", str(long_model))
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--data", str(downloads), "--results", str(tmp_path)])
    assert module.main() == 0
    result = read_json(tmp_path / f"{name}.json")
    assert result["quick"] is True
    for title in titles:
        assert all(rate["min"] > 0 for rate in result[title]["rates"].values())
    assert benchmark_tables.markdown(name, tmp_path)


def test_the_stages_of_an_answer_begin_with_nothing_imported(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    save_classifier(tiny_model, tmp_path)
    code = "import sys, benchmarks.stages; print({'numpy', 'torch', 'transformers'} & {*sys.modules})"
    assert subprocess_of([sys.executable, "-c", code]).stdout == "set()\n"
    monkeypatch.setattr(memory, "ask_for_large_pages", lambda: None)  # for the rest of this process
    monkeypatch.setattr(sys, "argv", ["stages", "our_first_answer", str(tmp_path)])
    assert stages.main() == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(found) == ["import of torch", "import of transformers' BERT", "other imports", "model", "answer"]
