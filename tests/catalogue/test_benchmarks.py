"""The benchmarks' shared parts do what they say, and the one for GPUs runs where there is none."""

import sys
from pathlib import Path

import pytest
from running import read_json

from benchmarks import gpu, measure
from bertlab import bench_tables

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
    found = {"training": measure.compared(RATES, "examples/s", {"other": 1.5}), "padding": {"random": 0.5}}
    measure.write(where, "made", found)
    assert "2.00 (1.00 to 3.00)" in capsys.readouterr().out
    assert {"machine", "versions", "code", "training", "padding"} <= set(read_json(tmp_path / "made.json"))
    text = bench_tables.markdown("made", tmp_path)
    assert "| other | 10 (5 to 20) | 2 (1 to 3) | 1.5 |" in text
    assert "- padding: random 0.5" in text


def test_a_benchmark_that_was_not_run_says_so(tmp_path: Path):
    assert "python -m benchmarks.none" in bench_tables.markdown("none", tmp_path)


def test_without_data_a_benchmark_says_what_to_name(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.delenv("BERTLAB_DATA", raising=False)
    with pytest.raises(SystemExit) as stopped:
        measure.options("About.", [])
    assert stopped.value.code == 2
    assert "BERTLAB_DATA" in capsys.readouterr().err


def test_the_gpu_benchmark_runs_on_the_cpu_with_a_small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["gpu", "--tiny", "--cpu", "--rounds", "1", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(gpu, "SCRIPT", {"one step": ("--max_steps", "1", "--save_strategy", "no")})
    assert gpu.main() == 0
    recipe = read_json(tmp_path / "gpu.json")["tiny, the whole CoLA recipe, seconds"]["one step"]
    assert 0 < recipe["training"] < recipe["from command to end"]
    result = read_json(tmp_path / "gpu.json")["tiny, CoLA-like"]
    assert set(result["evaluation, examples/s by batch"]) == {"8", "32"}
    assert result["failed"] == {}
    assert {measure.OURS, *gpu.PEERS} <= set(result["rates"])
    assert all(rate["median"] > 0 for rate in result["rates"].values())
