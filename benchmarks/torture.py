#!/usr/bin/env python
"""Kill runs with SIGKILL at random moments, resume them, and compare their end with a run that nobody killed.

    python benchmarks/torture.py                                  # the whole campaign, about ten minutes
    python benchmarks/torture.py --only classify-1 --kills 3      # a short one

Writes benchmarks/results/torture.json: machine, versions, commit; for every kill the run, its number of processes,
the phase it was hit in, after how many seconds, and the checkpoint that the next start went on from; for every run
whether weights, metrics, losses and predictions are bit for bit those of the run that nobody killed.

The model is a tiny BERT with random weights and dropout. Starts are forked from one process that has imported the
libraries (so that kills are not all spent on imports), except those of the runs named torchrun.
"""

import argparse
import contextlib
import csv
import importlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update({"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"})

WORDS = (
    "the a boy girl cat dog reads sleeps walks sang often never film story in on street night red small old new good"
)
PHASES = ("training", "saving", "evaluating", "finishing", "starting")
# Measured times differ from run to run, and so does what says from where a run went on.
TIMES = re.compile(r"runtime|per_second|model_preparation_time")
SECONDS = re.compile(r"[\d.]+ s\b")
# What a run prints of each step, and at the end of its training.
STEP = re.compile(r"^step (\d+) of \d+, epoch (\S+): ", re.MULTILINE)
TRAINED = re.compile(r"^trained (\d+) steps in ", re.MULTILINE)
START_SECONDS = 180.0
# A run is then let finish, and another one is begun.
KILLS_IN_ONE_RUN = 4


@dataclass(frozen=True)
class Scenario:
    """A run to kill: its script, how many processes it has, how they are started, and what it is told."""

    name: str
    script: str
    processes: int
    settings: dict[str, Any]
    launcher: str = "fork"


@dataclass
class Start:
    """One start of a run: its processes and what they have printed."""

    processes: list[int]
    log: Path
    began: float
    launcher: "subprocess.Popen[bytes] | None" = None
    statuses: dict[int, int] = field(default_factory=dict)

    def text(self) -> str:
        """Return what was printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def alive(self) -> bool:
        """Collect what has ended; return whether anything goes on."""
        if self.launcher is not None:
            if self.launcher.poll() is not None:
                self.statuses[self.launcher.pid] = self.launcher.returncode
            return self.launcher.returncode is None
        for process in self.processes:
            if process not in self.statuses:
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    self.statuses[process] = os.waitstatus_to_exitcode(status)
        return len(self.statuses) < len(self.processes)

    def kill(self, which: list[int]) -> None:
        """Kill processes without warning; those that are left are ended as a launcher would."""
        # torchrun gives every process a session of its own: a signal to its group would not reach them.
        family = which if self.launcher is None else [self.launcher.pid, *_descendants(self.launcher.pid)]
        for process in family:
            if process not in self.statuses:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self.end_the_rest()

    def end_the_rest(self) -> None:
        """Tell what is left to end, and kill it if it does not."""
        deadline = time.monotonic() + 10
        for process in self.processes:
            if self.alive() and process not in self.statuses:
                os.kill(process, signal.SIGTERM)
        while self.alive():
            if time.monotonic() > deadline:
                for process in self.processes:
                    if process not in self.statuses:
                        os.kill(process, signal.SIGKILL)
            time.sleep(0.01)


def _descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    children = [child for child, parent in parents.items() if parent == process]
    return children + [below for child in children for below in _descendants(child)]


def scenarios() -> list[Scenario]:
    """Return the runs of the campaign."""
    base = {"learning_rate": 1e-3, "logging_steps": 1, "save_total_limit": 2, "per_device_eval_batch_size": 16}
    middle = {**base, "num_train_epochs": 3, "save_strategy": "steps", "save_steps": 3, "eval_strategy": "epoch"}
    best = {
        **base,
        "num_train_epochs": 6,
        "save_strategy": "epoch",
        "selection_fraction": 0.2,
        "early_stopping_patience": 2,
        "save_total_limit": 1,
    }
    stopped = {**base, "max_steps": 34, "save_strategy": "steps", "save_steps": 4, "eval_strategy": "steps"}
    stopped["eval_steps"] = 4
    one, two = _cut(8, 2), _cut(4, 2)
    both = {"objective": "nsp+mlm", "whole_word_masking": True}
    return [
        Scenario("classify-1", "run_classification", 1, {**middle, **one}),
        Scenario("classify-1-best", "run_classification", 1, {**best, **one}),
        Scenario("classify-2", "run_classification", 2, {**middle, **two}),
        Scenario("classify-2-steps", "run_classification", 2, {**stopped, **two}),
        Scenario("nsp-1", "run_nsp", 1, {**stopped, **one}),
        Scenario("nsp-1-words", "run_nsp", 1, {**stopped, **one, **both}),
        Scenario("nsp-2", "run_nsp", 2, {**stopped, **two}),
        Scenario("classify-2-torchrun", "run_classification", 2, {**middle, **two}, "torchrun"),
    ]


def _cut(batch: int, accumulation: int) -> dict[str, int]:
    return {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}


def make_world(folder: Path) -> dict[str, dict[str, Any]]:
    """Write model, labelled rows and text; return what each script is told of them."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.set_num_threads(1)
    model = folder / "model"
    model.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*(f"##{letter}" for letter in letters), *letters, ".", *WORDS.split()]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])
    (model / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizer(vocab=str(model / "vocab.txt"), model_max_length=64).save_pretrained(model)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **shape)).save_pretrained(model)

    dice = random.Random(0)
    words = WORDS.split()
    files = {}
    for name, rows in (("train", 300), ("validation", 200), ("test", 100)):
        files[f"{name}_file"] = folder / f"{name}.csv"
        with files[f"{name}_file"].open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("text", "label"))
            for _ in range(rows):
                text = dice.choices(words, k=dice.randint(3, 20))
                writer.writerow((" ".join(text), "good" if "good" in text else "bad"))
    text = folder / "text.txt"
    documents = (
        ". ".join(" ".join(dice.choices(words, k=dice.randint(3, 9))) for _ in range(dice.randint(2, 6))) + "."
        for _ in range(120)
    )
    text.write_text("\n".join(documents) + "\n", encoding="utf-8")
    common = {"model_name_or_path": model, "max_seq_length": 32, "precision": "fp32", "use_cpu": True}
    common |= {"disable_tqdm": True}
    return {
        "run_classification": {**common, **files},
        "run_nsp": {**common, "text": text, "sentence_splitter": "period"},
    }


def command_line(settings: dict[str, Any]) -> list[str]:
    """Return settings as words."""
    return [
        word
        for name, value in settings.items()
        for word in (f"--{name}", str(value).lower() if isinstance(value, bool) else str(value))
    ]


def begin(scenario: Scenario, argv: list[str], log: Path) -> Start:
    """Start a run; its output goes to `log`."""
    if scenario.launcher == "torchrun":
        launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={scenario.processes}")
        with log.open("wb") as stream:
            launched = subprocess.Popen(
                [sys.executable, *launch, str(ROOT / f"{scenario.script}.py"), *argv],
                cwd=ROOT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Start([], log, time.monotonic(), launched)
    port = _free_port()
    began = time.monotonic()
    log.touch()
    return Start([_fork(scenario, rank, port, argv, log) for rank in range(scenario.processes)], log, began)


def _fork(scenario: Scenario, rank: int, port: int, argv: list[str], log: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        sys.stdout = sys.stderr = log.open("a", buffering=1, encoding="utf-8")
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        if scenario.processes > 1:
            ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": scenario.processes}
            address = {"LOCAL_WORLD_SIZE": scenario.processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in {**ranks, **address}.items()})
        status = importlib.import_module(scenario.script).main(argv)
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(start: Start, folder: Path, aim: str, dice: random.Random) -> bool:
    """Wait for a moment in a phase; return False if the run ended first."""
    steps = dice.randint(1, 12)
    seen: set[str] = set()
    deadline = time.monotonic() + START_SECONDS
    if aim == "starting":
        time.sleep(dice.uniform(0.0, 1.0))
        return start.alive()
    while start.alive():
        if time.monotonic() > deadline:
            raise SystemExit(f"a start did nothing for {START_SECONDS:.0f} s:\n{start.text()[-3000:]}")
        said = start.text()
        if aim == "finishing" and TRAINED.search(said):
            time.sleep(dice.uniform(0.0, 1.5))
            return start.alive()
        if aim == "saving":
            with contextlib.suppress(OSError):
                seen |= {path.name for path in (folder / "_bertlab" / "saving").glob("checkpoint-*")}
            if len(seen) >= min(steps, 4):
                time.sleep(dice.uniform(0.0, 0.03))
                return start.alive()
        if aim == "training" and len(STEP.findall(said)) >= steps:
            time.sleep(dice.uniform(0.0, 0.08))
            return start.alive()
        if aim == "evaluating" and _ends_an_epoch(said):
            time.sleep(dice.uniform(0.0, 0.05))
            return start.alive()
        time.sleep(0.001 if aim == "saving" else 0.01)
    return False


def _ends_an_epoch(said: str) -> bool:
    last = STEP.match(said.rstrip().rpartition("\n")[2])
    return last is not None and float(last[2]).is_integer()


def phase(said: str, folder: Path) -> str:
    """Return what a killed run was doing, by what it left."""
    if TRAINED.search(said):
        return "finishing"
    if not STEP.search(said):
        return "starting"
    if list((folder / "_bertlab" / "saving").glob("*")):
        return "saving"
    return "evaluating" if _ends_an_epoch(said) else "training"


def torture(scenario: Scenario, world: dict[str, Any], folder: Path, kills: int, dice: random.Random) -> dict[str, Any]:
    """Kill runs of one kind so many times; return every kill, and what in the ends of the runs differs."""
    settings = {**world[scenario.script], **scenario.settings}
    whole = folder / "whole"
    _wait(begin(scenario, command_line({**settings, "output_dir": whole}), folder / "whole.log"))
    told: list[dict[str, Any]] = []
    different: set[str] = set()
    runs = 0
    while len(told) < kills:
        torn = folder / f"torn-{runs}"
        new = kill_until_done(scenario, settings, torn, min(kills - len(told), KILLS_IN_ONE_RUN), dice)
        found = compare(whole, torn)
        told += [{**kill, "identical": not found} for kill in new]
        different.update(found)
        runs += 1
        print(f"{scenario.name}: {len(told)} kills in {runs} runs, {found or 'identical'}", flush=True)
    return {"kills": told, "runs": runs, "different": sorted(different)}


def kill_until_done(
    scenario: Scenario, settings: dict[str, Any], torn: Path, kills: int, dice: random.Random
) -> list[dict[str, Any]]:
    """Start a run again and again, killing it at most so many times, until it has finished; return the kills."""
    argv = command_line({**settings, "output_dir": torn, "resume": "auto"})
    told: list[dict[str, Any]] = []
    while True:
        start = begin(scenario, argv, torn.with_name(f"{torn.name}-{len(told)}.log"))
        # Nothing but the end is left of a run that was killed in it.
        over = bool(told) and told[-1]["phase"] == "finishing"
        aim = dice.choices(PHASES, (0, 0, 0, 4, 1) if over else (4, 4, 3, 2, 1))[0]
        hit = len(told) < kills and wait_for(start, torn, aim, dice)
        if not hit:
            _wait(start)
        if told:
            told[-1]["went_on_from"] = _went_on_from(start.text())
        if not hit:
            return told
        only = dice.random() < 0.5 and scenario.processes > 1 and scenario.launcher == "fork"
        seconds = time.monotonic() - start.began
        start.kill([dice.choice(start.processes)] if only else start.processes)
        said = start.text()
        told.append(
            {
                "run": scenario.name,
                "script": f"{scenario.script}.py",
                "processes": scenario.processes,
                "launcher": scenario.launcher,
                "killed": "one process" if only else "all",
                "phase": phase(said, torn),
                "steps_logged": len(STEP.findall(said)),
                "seconds": round(seconds, 3),
                "left_half_written": any((torn / "_bertlab" / "saving").glob("*")),
            }
        )
        print(json.dumps(told[-1]), flush=True)


def _wait(start: Start) -> None:
    deadline = time.monotonic() + START_SECONDS
    while start.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    if set(start.statuses.values()) != {0}:
        start.kill(start.processes)
        raise SystemExit(f"a start ended with {start.statuses}:\n{start.text()[-3000:]}")


def _went_on_from(said: str) -> str | None:
    first, done = STEP.search(said), TRAINED.search(said)
    steps = int(first[1]) - 1 if first else int(done[1]) if done else 0
    return f"checkpoint-{steps}" if steps else None


def compare(whole: Path, torn: Path) -> list[str]:
    """Return the names of what differs between two runs, bit for bit; measured times are left out."""
    different = []
    for name in ("model.safetensors", "config.json"):
        if (whole / name).read_bytes() != (torn / name).read_bytes():
            different.append(name)
    for name in ("all_results.json", "results.json"):
        ours, theirs = (_without_times(_read(run / name)) for run in (whole, torn))
        different += [f"{name}: {place}" for place in _places(ours, theirs)]
    if _history(whole) != _history(torn):
        different.append("losses and evaluations of every step")
    for name in ("predictions", "misclassified"):
        ours, theirs = _contents(whole / name), _contents(torn / name)
        if ours != theirs:
            different.append(name)
    leftovers = {path.name for path in torn.iterdir()} ^ {path.name for path in whole.iterdir()}
    return different + sorted(leftovers)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if not TIMES.search(key)}
    if isinstance(value, str):
        return SECONDS.sub("", value)
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _places(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Return where two JSON values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = sorted({*ours, *theirs})
        return [found for name in names for found in _places(ours.get(name), theirs.get(name), f"{place}/{name}")]
    return [] if ours == theirs else [f"{place} {str(ours)[:80]} {str(theirs)[:80]}"]


def _history(folder: Path) -> list[Any]:
    return _without_times(_read(folder / "trainer_state.json")["log_history"])


MODULES = (
    *("training.trainer", "evaluation.evaluate", "pretraining.objectives", "training.resume"),
    *("training.plan", "report.writer", "report.render"),
)


def main() -> int:
    """Run the campaign and write what it found; the status is 1 if any run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=6, help="kills per run")
    parser.add_argument("--only", nargs="+", help="runs to torture, by name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "torture.json")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bertlab-torture-") as home:
        os.environ.update({"HF_HOME": home, "HF_DATASETS_CACHE": f"{home}/datasets"})
        world = make_world(Path(home) / "world")
        for name in ("run_classification", "run_nsp", *(f"bertlab.{module}" for module in MODULES)):
            importlib.import_module(name)
        for number, scenario in enumerate(scenarios()):
            if options.only is None or scenario.name in options.only:
                folder = Path(home) / scenario.name
                folder.mkdir()
                dice = random.Random(options.seed * 1000 + number)
                found[scenario.name] = torture(scenario, world, folder, options.kills, dice)
                write_report(options, found, time.monotonic() - began)
                shutil.rmtree(folder)
    return int(any(run["different"] for run in found.values()))


def write_report(options: argparse.Namespace, found: dict[str, dict[str, Any]], seconds: float) -> None:
    """Write what is known so far; the command is told without the place of the report."""
    from bertlab.io import write_json
    from bertlab.report import provenance

    kills = [kill for run in found.values() for kill in run["kills"]]
    only = ["--only", *options.only] if options.only else []
    words = ["python", "benchmarks/torture.py", "--kills", str(options.kills), "--seed", str(options.seed), *only]
    told = {
        "command": " ".join(words),
        "kills": len(kills),
        "identical": sum(kill["identical"] for kill in kills),
        "by_phase": {name: sum(kill["phase"] == name for kill in kills) for name in PHASES},
        "half_written": sum(kill["left_half_written"] for kill in kills),
        "runs": {
            name: {"kills": len(run["kills"]), "finished": run["runs"], "different": run["different"]}
            for name, run in found.items()
        },
        "seconds": round(seconds),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "code": provenance.commit(),
        "each": kills,
    }
    write_json(options.output, told)


if __name__ == "__main__":
    sys.exit(main())
