"""report.html: all of a run on one page that needs no network, no server and no other file."""

import base64
import hashlib
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import jinja2
from markupsafe import Markup

from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.evaluation.statistics import verdict
from bertlab.report.plots import plain, training_log
from bertlab.report.run_folder import BASELINE_NAMES, Misclassified, RunFolder, split_labels

HERE = Path(__file__).resolve().parent
# A page of more rows than this is slow to filter; the files under errors/ have them all.
MISCLASSIFIED_PER_SPLIT = 500
# Longer texts show this much until they are opened, and no more than the second number even then.
SHOWN_CHARACTERS, MOST_CHARACTERS = 240, 4000
KINDS = {
    "single_label_classification": "classification",
    "multi_label_classification": "classification with several labels a row",
    "regression": "regression",
}
CAPTIONS = {
    "loss": "Training loss by optimizer step.",
    "metrics": "Scores during training, by epoch.",
    "confusion": "Rows are true classes; a cell has the count and its share of the row.",
    "reliability": "Where the line lies under the diagonal, the model is surer than it is right. "
    "The larger a point, the more rows it stands for.",
    "predicted": "Predicted against true values.",
    "per_batch": "The score of each batch alone: how far a score on this few rows moves by chance.",
    "label_balance": "Share of each class by split.",
    "token_lengths": "Length of the inputs before truncation, special tokens included.",
}


class Bar(NamedTuple):
    """One line of the headline: a value on a common scale, in percent from the left, perhaps with an interval."""

    name: str
    note: str
    value: float
    left: float
    low: float | None
    high: float | None
    kind: str


def render(folder: RunFolder, images: Mapping[str, bytes]) -> str:
    """Return the page of a run as HTML; `images` are its plots as PNG by file name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (score, plain, percent, count, setting, names, lead)
    environment.filters.update({one.__name__: one for one in filters})
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        run=folder,
        style=Markup(style),
        script=Markup(script),
        script_hash=script_hash(script),
        images={name.removesuffix(".png"): data_uri(image) for name, image in images.items()},
        captions=CAPTIONS,
        kind=KINDS.get(folder.kind, plain(folder.kind)),
        baseline_names=BASELINE_NAMES,
        headline=headline(folder),
        sentences=sentences(folder),
        log=training_log(folder),
        mistakes=misclassified_rows(folder),
        totals={split: len(rows) for split, rows in folder.mistakes.items() if rows},
        limit=MISCLASSIFIED_PER_SPLIT,
        shown=SHOWN_CHARACTERS,
        most=MOST_CHARACTERS,
        command=[shlex.quote(str(word)) for word in folder.run.get("command") or []],
    )


def headline(folder: RunFolder) -> list[Bar]:
    """Return the leading score of the main split, its baselines and published value on one scale; [] unscored."""
    if folder.main_split is None:
        return []
    told, lead = folder.scored[folder.main_split], folder.metrics[0]
    ours = told["metrics"][lead]
    found: list[tuple[str, str, Any, str]] = [("this model", "", ours["value"], "ours")]
    for name, control in told["baselines"].items():
        found.append((BASELINE_NAMES.get(name, plain(name)), control["how"], control["metrics"][lead], "baseline"))
    published = folder.results.get("published") or {}
    if published.get("split") == folder.main_split and lead in published.get("values", {}):
        found.append(("published", published.get("source") or "", published["values"][lead], "published"))
    numbers = [value for _, _, value, _ in found if _known(value)]
    if not _known(ours["value"]):
        return []
    ends = [ours[end] for end in ("low", "high") if _known(ours[end])]
    low, high = _scale([*numbers, *ends])
    bars = []
    for name, note, value, kind in found:
        if _known(value):
            spread = [
                _place(ours[e], low, high) if kind == "ours" and len(ends) == 2 else None for e in ("low", "high")
            ]
            bars.append(Bar(name, note, value, _place(value, low, high), spread[0], spread[1], kind))
    return bars


def sentences(folder: RunFolder) -> list[str]:
    """Return the verdicts on the primary metric of the main split against its baselines and the published value."""
    if folder.main_split is None:
        return []
    results, metric = folder.scored[folder.main_split], folder.metrics[0]
    ours, upward = results["metrics"][metric], GREATER_IS_BETTER.get(metric, True)
    if not (_known(ours["low"]) and _known(ours["high"])):
        return [f"{ours['n']} examples are too few for a confidence interval, so nothing is compared."]
    lines = [
        _against_baseline(baseline, metric, BASELINE_NAMES.get(name, plain(name)), upward)
        for name, baseline in results["baselines"].items()
        if _known(baseline["metrics"][metric])
    ]
    if not lines:
        lines.append("No baseline was scored, because there were no training examples.")
    published = folder.results.get("published") or {}
    value = (published.get("values") or {}).get(metric)
    if published.get("split") == folder.main_split and _known(value):
        source = f", {published['source']}" if published.get("source") else ""
        relation = verdict(ours["low"] - value, ours["high"] - value, upward)
        lines.append(
            f"This model is {relation} the published value ({score(value)}{source}). Model, data and number of seeds "
            "may differ."
        )
    lines.append("The confidence interval covers the choice of examples, not of the seed: other seeds score otherwise.")
    return lines


def misclassified_rows(folder: RunFolder) -> list[tuple[Misclassified, list[str], list[str]]]:
    """Return the mistakes the page shows, each with its true and its predicted classes."""
    shown = [mistake for rows in folder.mistakes.values() for mistake in rows[:MISCLASSIFIED_PER_SPLIT]]
    if folder.is_multi_label:
        names = folder.class_names
        return [(one, split_labels(one.label, names), split_labels(one.prediction, names)) for one in shown]
    return [(one, [one.label], [one.prediction]) for one in shown]


def data_uri(image: bytes) -> str:
    """Return a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"


def script_hash(script: str) -> str:
    """Return the source expression that lets a content security policy run this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"


def score(value: Any, digits: int = 3) -> str:
    """Return a score for people; a dash where there is none."""
    return f"{value:.{digits}f}" if _known(value) else "–"


def percent(value: Any) -> str:
    """Return a share as a percentage with one digit."""
    return f"{value:.1%}" if _known(value) else "–"


def count(value: Any) -> str:
    """Return a count with separators."""
    return f"{int(value):,}" if _known(value) else "–"


def setting(value: Any) -> str:
    """Return a configured value as one would type it."""
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return {True: "yes", False: "no", None: "–"}[value] if value is None or isinstance(value, bool) else str(value)


def names(classes: list[str], folder: RunFolder) -> str:
    """Return the classes of a row, with room for a line break between them; a number with few digits."""
    if folder.is_regression and classes != [""]:
        return score(float(classes[0]))
    return " | ".join(filter(None, classes)) or "–"


def lead(text: str) -> str:
    """Return the beginning of a long text, up to the end of a word where there is one near."""
    cut = text[:SHOWN_CHARACTERS]
    head = cut.rpartition(" ")[0]
    return head if len(head) > SHOWN_CHARACTERS // 2 else cut


def _against_baseline(baseline: Mapping[str, Any], metric: str, name: str, upward: bool) -> str:
    """Return the verdict on the model against a baseline, by the paired bootstrap in results.json."""
    value, difference = score(baseline["metrics"][metric]), baseline.get("difference", {}).get(metric, {})
    low, high = difference.get("low"), difference.get("high")
    interval = f": 95% CI of the difference {low:+.3f} to {high:+.3f}" if _known(low) and _known(high) else ""
    return f"This model is {verdict(low, high, upward)} the baseline “{name}” ({value}){interval}."


def _known(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _scale(numbers: list[float]) -> tuple[float, float]:
    """Return the ends of an axis that begins at 0 unless something is below it."""
    low, high = min(0.0, *numbers), max(*numbers, 0.0)
    high = 1.0 if 0.5 < high <= 1.0 else high
    room = 0.04 * (high - low or 1.0)
    return low - room, high + room


def _place(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 2)
