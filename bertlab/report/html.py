"""report.html: a whole run on one page that needs no network, no server and no other file."""

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from bertlab.report import curves, plots, scores, selection, tables
from bertlab.report.predictions import split_labels
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import is_number, score

HERE = Path(__file__).resolve().parent
# A page of more rows than this is slow to filter; the files under misclassified/ have them all.
MISCLASSIFIED_PER_SPLIT = 200
# Longer texts are folded after so many characters.
SHOWN_CHARACTERS = 240


class Bar(NamedTuple):
    """One line of the headline: a value on a common scale, in percent from the left, perhaps with an interval."""

    name: str
    value: float
    kind: str
    left: float
    interval: list[float]


def render(folder: RunFolder) -> str:
    """Return the page of a run as HTML.

    Raises:
        UserError: the predictions or the misclassified examples cannot be read.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (score, scores.baseline_name, tables.cell, count, setting, classes, beginning)
    environment.filters.update({function.__name__: function for function in filters})
    environment.filters["display_name"] = lambda name: scores.metric_name(folder.results, name)
    decisions = {split: curves.decisions(folder, split) for split in folder.scored}
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        run=folder,
        style=Markup(style),
        script=Markup(script),
        script_hash=script_hash(script),
        plots={name: Markup(plot) for name, plot in plots.render_plots(folder, decisions).items()},
        tables=tables,
        decisions=decisions,
        headline=headline(folder),
        standing=scores.standing(folder.results),
        verdicts=[*scores.verdicts(folder.results), *scores.groups(folder.results)],
        selection=selection.notes(folder),
        totals={split: len(rows) for split, rows in folder.misclassified.items() if rows},
        limit=MISCLASSIFIED_PER_SPLIT,
        shown=SHOWN_CHARACTERS,
        command=[shlex.quote(str(argument)) for argument in folder.run.get("command") or []],
    )


def headline(folder: RunFolder) -> list[Bar]:
    """Return the primary metric on the main split, its baselines and published value on one scale; [] unscored."""
    if folder.main_split is None:
        return []
    split, metric = folder.scored[folder.main_split], folder.metrics[0]
    ours = split["metrics"][metric]
    if not is_number(ours["value"]):
        return []
    rows: list[tuple[str, Any, str]] = [("this model", ours["value"], "ours")]
    for name, baseline in split["baselines"].items():
        rows.append((scores.baseline_name(name, metric), baseline["metrics"][metric], "baseline"))
    rows.append(("published", scores.published_value(folder.results, folder.main_split, metric), "published"))
    rows = [row for row in rows if is_number(row[1])]
    ends = [ours["low"], ours["high"]] if scores.interval(ours) else []
    low, high = _scale([*(value for _, value, _ in rows), *ends])
    places = [_place(end, low, high) for end in ends]
    return [Bar(*row, _place(row[1], low, high), places if row[2] == "ours" else []) for row in rows]


def classes(cell: str, folder: RunFolder) -> list[str]:
    """Return the classes that a label or a prediction names, one unless the run is multi-label."""
    return split_labels(cell, folder.class_names) if folder.is_multi_label else [cell]


def script_hash(script: str) -> str:
    """Return the source expression with which a content security policy allows this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"


def count(value: Any) -> str:
    """Return a count with separators."""
    return f"{int(value):,}" if is_number(value) else "–"


def setting(value: Any) -> str:
    """Return a configured value as one would type it."""
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return {True: "yes", False: "no", None: "–"}[value] if value is None or isinstance(value, bool) else str(value)


def beginning(text: str) -> str:
    """Return the beginning of a long text, up to the end of a word where there is one near."""
    start = text[:SHOWN_CHARACTERS]
    words = start.rpartition(" ")[0]
    return words if len(words) > SHOWN_CHARACTERS // 2 else start


def _scale(numbers: list[float]) -> tuple[float, float]:
    """Return the ends of an axis that begins at 0 unless something is below it."""
    low, high = min(0.0, *numbers), max(*numbers, 0.0)
    high = 1.0 if 0.5 < high <= 1.0 else high
    room = 0.04 * (high - low or 1.0)
    return low - room, high + room


def _place(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 2)
