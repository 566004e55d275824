"""`python -m bertlab ledger`: small committed records of runs, and the tables in the documents made from them.

A record is results/<recipe>/<model>/seed<k>.json. A table stands in a document between `<!-- ledger RECIPE -->` and
`<!-- end -->`; `ledger tables` writes it anew from the records, so that no figure is typed by hand.
"""

import argparse
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertlab import statistics
from bertlab.errors import UserError, exits_with_status_2
from bertlab.report.files import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
DOCUMENTS = ("README.md", "docs/*.md")
MARKED = re.compile(r"(<!-- ledger (?P<recipe>[\w./-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEADER = ("model", "split", "metric", "mean", "sd", "min to max", "seeds", "rows", "baselines")


def record(run: Path, label: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Return where the record of a finished run belongs, and what it says; paths are cut to their last part.

    Raises:
        UserError: the folder is not a finished run.
    """
    told, results = (_read(run / name) for name in ("run.json", "results.json"))
    configuration = told["configuration"]
    model = label or model_name(configuration)
    entry = {
        "recipe": told["recipe"] or "none",
        "model": model,
        "seed": told["seed"],
        "command": [_without_folders(word) for word in told["command"]],
        "plan": told["plan"],
        "data": {
            name: {key: split[key] for key in ("rows", "labelled", "from", "fingerprint")}
            for name, split in told["data"].items()
        },
        "splits": {name: _scores(split) for name, split in results["splits"].items()},
        "published": results["published"],
        "versions": told["versions"],
        "code": told["code"],
        "machine": told["machine"],
        "seconds": told["seconds"],
        "peak_memory_mb": told["peak_memory_mb"],
        "finished": told["finished"],
    }
    return RESULTS / entry["recipe"] / model / f"seed{entry['seed']}.json", entry


def table(recipe: str) -> str:
    """Return the Markdown table of all records of a recipe: mean and sd over seeds, beside the baselines' means.

    Raises:
        UserError: there is no record of that recipe.
    """
    folder = RESULTS / recipe
    models = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    rows = [row for model in models for row in _rows([_read(path) for path in sorted(model.glob("seed*.json"))])]
    if not rows:
        raise UserError(f"there is no record of {recipe!r} under results/.", "Write one with `ledger record RUN`.")
    lines = [HEADER, tuple("---" for _ in HEADER), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def with_tables(text: str) -> str:
    """Return a document with every table between its marks made anew."""
    return MARKED.sub(lambda found: f"{found[1]}\n{table(found['recipe'])}\n{found[3]}", text)


def documents() -> list[Path]:
    """Return the documents that may hold tables."""
    return [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


@exits_with_status_2
def main(argv: Sequence[str]) -> int:
    """Record runs, or write the tables."""
    parser = argparse.ArgumentParser("python -m bertlab ledger", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="write the records of finished runs", allow_abbrev=False)
    recording.add_argument("runs", nargs="+", type=Path)
    recording.add_argument("--label", help="what to call the model instead of its own name")
    commands.add_parser("tables", help="write the tables in README.md and docs/ anew", allow_abbrev=False)
    options = parser.parse_args(argv)
    if options.command == "tables":
        for document in documents():
            text = document.read_text(encoding="utf-8")
            write_text(document, with_tables(text))
        return 0
    for run in options.runs:
        path, entry = record(run, options.label)
        write_json(path, entry)
        print(path.relative_to(ROOT))
    return 0


def _rows(entries: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row per split and metric of one model's records."""
    rows: list[tuple[str, ...]] = []
    for split, scores in (entries[0]["splits"] if entries else {}).items():
        for metric in (*scores["metrics"], *scores["other"]):
            values = [_value(entry, split, metric) for entry in entries]
            spread = statistics.mean_sd_interval(values)
            beside = ", ".join(
                f"{name.replace('_', ' ')} {_mean_control(entries, split, name, metric):.3f}"
                for name, control in scores["baselines"].items()
                if metric in control
            )
            rows.append(
                (
                    entries[0]["model"],
                    split,
                    metric.replace("_", " "),
                    f"{spread.mean:.3f}",
                    "-" if math.isnan(spread.sd) else f"{spread.sd:.3f}",
                    f"{min(values):.3f} to {max(values):.3f}",
                    str(spread.n),
                    str(scores["rows"]),
                    beside or "-",
                )
            )
    return rows


def _value(entry: dict[str, Any], split: str, metric: str) -> float:
    scores = entry["splits"][split]
    return scores["metrics"][metric]["value"] if metric in scores["metrics"] else scores["other"][metric]


def _mean_control(entries: list[dict[str, Any]], split: str, name: str, metric: str) -> float:
    return statistics.mean_sd_interval([entry["splits"][split]["baselines"][name][metric] for entry in entries]).mean


def _scores(split: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": split["role"],
        "rows": split["rows"],
        "metrics": split.get("metrics", {}),
        "other": split.get("other", {}),
        "baselines": {name: control["metrics"] for name, control in split.get("baselines", {}).items()},
        "by_source": split.get("by_source", {}) if len(split.get("by_source", {})) <= 6 else {},
    }


def model_name(configuration: dict[str, Any]) -> str:
    """Return what a run's model is called: the last part of its name, or that of the package it came in."""
    name = str(configuration.get("model_name_or_path", "scratch"))
    if configuration.get("from_scratch") in (True, "true"):
        return "scratch"
    return (
        name.removeprefix("package:").split("/")[0]
        if name.startswith("package:")
        else name.rstrip("/").split("/")[-1]
    )


def _without_folders(word: str) -> str:
    return word if word.startswith("package:") or "/" not in word else word.rstrip("/").split("/")[-1]


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; the folder is not a finished run.", "Name a run's output folder.")
    return json.loads(path.read_text(encoding="utf-8"))
