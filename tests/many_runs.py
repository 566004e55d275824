"""Stand-ins for the scripts, for tests of what starts, skips, stops and gathers runs: 0.1 s each, not 7."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bertlab.commands import jobs, run_specs

# Reads what it was begun with, and leaves behind what a run does. The file `orders.json` in its working folder may
# name seeds that fail, are killed, or hang until they are stopped.
SCRIPT = """
import json, os, pathlib, signal, sys, time
words = dict(zip(sys.argv[1:], sys.argv[2:]))
folder = pathlib.Path(words["--output_dir"])
orders = json.loads(pathlib.Path("orders.json").read_text()) if pathlib.Path("orders.json").exists() else {}
order = orders.get(words["--seed"])
folder.mkdir(parents=True, exist_ok=True)
with open("started.txt", "a") as stream:
    stream.write(f"{folder} {os.environ.get('OMP_NUM_THREADS')} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
print("a line for the log")
if order == "hang":
    (folder / "hanging").touch()
    time.sleep(60)
if order == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if order == "fail":
    sys.exit(3)
if order and order.startswith("refuse "):
    print("error: " + order.removeprefix("refuse "))
    sys.exit(2)
note = json.loads(folder.with_name(folder.name + ".plan.json").read_text())
score = 0.5 if order == "tie" else 0.5 + int(words["--seed"]) / 100
split = {"role": "validation", "rows": 9, "labelled": 9, "baselines": {}, "metrics": {"accuracy": {"value": score}}}
(folder / "results.json").write_text(json.dumps({
    "problem_type": "single_label_classification", "metrics": ["f1" if order == "f1" else "accuracy"], "published": {},
    "splits": {} if words.get("--do_eval") == "false" else {"validation": split},
    "selection": {"metrics": {"accuracy": score}},
}))
held_out = "other" if order == "other rows" else "same"
data = {"validation": {"fingerprint": "same"}, "selection": {"fingerprint": held_out}}
if order == "collapse":
    data["train"] = {"labelled": 4, "balance": {"a": 2, "b": 2}}
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": [{"epoch": 1.0, "loss": 0.7}]}))
(folder / "run.json").write_text(json.dumps({**note, "recipe": "x", "data": data, "seconds": {"whole_run": 9}}))
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put stand-ins in the place of both scripts, and return the working folder."""
    (tmp_path / "scripts").mkdir()
    for script in (run_specs.CLASSIFICATION, run_specs.NSP):
        (tmp_path / "scripts" / script.name).write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(run_specs, "ROOT", tmp_path / "scripts")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def order(folder: Path, **seeds: str) -> None:
    """Tell the stand-ins what to do for a seed: order(folder, seed2="kill")."""
    orders = {name.removeprefix("seed"): what for name, what in seeds.items()}
    (folder / "orders.json").write_text(json.dumps(orders), encoding="utf-8")


def started(folder: Path) -> list[list[str]]:
    """Return folder, threads and visible GPUs of every stand-in that was started, and forget them."""
    path = folder / "started.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(line.split(" ") for line in lines)


def in_this_process(runs: Sequence[run_specs.RunSpec], slots: Sequence[jobs.Slot]) -> Iterator[jobs.Event]:
    """Take the place of jobs.run_all: run the real classification script here, one run after the other."""
    import run_classification

    for run in runs:
        yield jobs.Event(run, slots[0].device)
        yield jobs.Event(run, slots[0].device, run_classification.main(list(run.argv)), 0.1)
