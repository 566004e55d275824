"""The tables of docs/numbers.md and docs/tutorials.md, made from what the benchmarks wrote."""

from pathlib import Path
from typing import Any

from bertlab import ROOT, console
from bertlab.io import read_json

RESULTS = ROOT / "benchmarks" / "results"


def markdown(name: str, folder: Path = RESULTS) -> str:
    """Return benchmarks/results/NAME.json as Markdown: a table for each comparison, then the rest."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return f"Not measured yet: `python -m benchmarks.{name}` writes it.\n"
    result = read_json(path)
    about = {key: result.pop(key, {}) for key in ("machine", "versions", "code", "quick", "rounds")}
    comparisons = {title: item for title, item in result.items() if isinstance(item, dict) and "rates" in item}
    lines = [_comparison(title, item) for title, item in comparisons.items()]
    for title, item in result.items():
        if title not in comparisons:
            lines += [f"- {title}: {_figures(item)}"]
    versions = ", ".join(
        f"{key} {about['versions'][key]}" for key in ("torch", "transformers") if key in about["versions"]
    )
    machine = f"{about['machine'].get('processor')}, {about['machine'].get('cores')} cores"
    rounds = f"{about['rounds']} round{'' if about['rounds'] == 1 else 's'}"
    changed = ", with changes" if about["code"].get("changed") else ""
    commit = f"commit {str(about['code'].get('commit'))[:8]}{changed}"
    lines += ["", f"{machine}; {versions}; {commit}; {rounds}."]
    return "\n".join(lines) + "\n"


def facts(tutorial: str, folder: Path = RESULTS) -> str:
    """Return what a tutorial says of its data beside what was measured, as a Markdown table."""
    items = read_json(folder / "tutorials.json")["tutorials"][tutorial]
    rows = [(item["what"], "" if item["tutorial"] is None else item["tutorial"], item["found"]) for item in items]
    return console.markdown(("what", "the tutorial", "here"), rows) + "\n"


def _comparison(title: str, item: dict[str, Any]) -> str:
    rows = []
    for name, rate in item["rates"].items():
        ratio, target = item["ratios"].get(name), item["targets"].get(name)
        rows.append((name, _spread(rate), _spread(ratio) if ratio else "", f"{target:g}" if target else ""))
    return console.markdown((title, item["unit"], "ours is × as fast", "to reach"), rows) + "\n"


def _spread(item: dict[str, float]) -> str:
    return f"{_figures(item['median'])} ({_figures(item['min'])} to {_figures(item['max'])})"


def _figures(value: Any) -> str:
    """Return a number with three significant digits, or all the figures of a dictionary."""
    if isinstance(value, dict):
        if set(value) == {"median", "min", "max"}:
            return _spread(value)
        return "; ".join(f"{key} {_figures(item)}" for key, item in value.items())
    if isinstance(value, (int, float)):
        return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"
    return str(value)
