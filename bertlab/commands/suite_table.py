"""The table of many runs: mean, deviation, interval, degenerate runs, baselines and a verdict per recipe and metric."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bertlab import console
from bertlab.commands.aligned import Aligned, aligned_if_kept
from bertlab.errors import UserError
from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import GREATER_IS_BETTER, METRICS
from bertlab.evaluation.resampling import student_t
from bertlab.evaluation.statistics import Lead, SeedSummary
from bertlab.io import plain, write_text
from bertlab.report import scores
from bertlab.report.run_folder import RunFolder, model_name, refuse_other_data
from bertlab.report.scores import baseline_name

T = TypeVar("T")

# The formats that are kept as files, and how these end; JSON first, as it marks the others as written here.
FILES = {"json": "json", "markdown": "md", "csv": "csv"}
HEADER = ("recipe", "split", "metric", "mean ± sd (n)", "95% CI", "min", "max", "failed", "baselines")
NOTES = (
    "95% CI: of the mean, over seeds and examples together. Failed: a run is degenerate, as it predicts one class only "
    "or its training loss in the last epoch is not below that of the best constant. A published value is that of one "
    "run: it is compared with the interval in which one more seed would fall, 95 of 100 times. A baseline is compared "
    "by the p value of the difference, over seeds and examples together. Significant is a p value below 0.05, for the "
    "first scores of several tasks after Holm's correction."
)
# Of p values.
LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """One metric of one split over the seeds of a recipe; what is undefined is nan."""

    recipe: str
    model: str
    split: str
    metric: str
    mean: float
    sd: float
    n: int
    low: float
    high: float
    minimum: float
    maximum: float
    failed: int
    examples: int
    baselines: dict[str, float]
    published: float | None
    source: str | None
    verdict: str
    baseline: str | None
    p_value: float
    seeds_for_a_point: int | None


def rows(recipe: str, runs: Sequence[RunFolder]) -> list[Row]:
    """Return a row for every metric of every scored split.

    Raises:
        UserError: the runs did not see the same data.
    """
    if not runs:
        return []
    refuse_other_data(runs, dict.fromkeys(split for run in runs for split in run.data))
    found = []
    for split in runs[0].results["splits"]:
        predicted = aligned_if_kept(runs, split) if len(runs) > 1 else None
        found += [_row(recipe, runs, split, metric, predicted) for metric in runs[0].scores(split)]
    return found


def corrected(table: Sequence[Row]) -> list[Row]:
    """Return the rows of several tasks with Holm's correction in the verdict on each task's first score."""
    first = {row.recipe: row for row in reversed(table) if not math.isnan(row.p_value)}
    if len(first) < 2:
        return list(table)
    adjusted = dict(zip(first, statistics.holm([row.p_value for row in first.values()]), strict=True))
    verdicts = {}
    for name, row in first.items():
        words = row.verdict
        if row.p_value < LEVEL <= adjusted[name]:
            words = "; ".join([*words.split("; ")[:-1], f"{statistics.EQUAL} {row.baseline}"])  # the last part
        p_values = f"p = {row.p_value:.2g}, {adjusted[name]:.2g} after Holm's correction for {len(first)} tasks"
        verdicts[id(row)] = f"{words}; against {row.baseline} {p_values}"
    return [dataclasses.replace(row, verdict=verdicts.get(id(row), row.verdict)) for row in table]


def verdict(
    summary: SeedSummary,
    *,
    published: float | None,
    same_model: bool,
    leads: Mapping[str, Lead],
    upward: bool = True,
) -> str:
    """Return the verdicts on a mean over seeds against a published value and against the best baseline not beaten.

    A published value is mostly that of one run. It is not significantly different where one more run of ours would
    fall: the t prediction interval, which is sqrt(n + 1) times as wide as that of the mean; or, where all runs score
    the same, in the 95% CI of the mean. `leads` are the runs'
    scores − those of each baseline, seed by seed: a baseline may change with the seed, as an untrained head does.
    """
    if summary.n < 2:
        return "not comparable: one seed" if summary.n else "no score"
    parts = []
    if published is not None:
        half = student_t(summary.n - 1) * summary.sd * math.sqrt(1 + 1 / summary.n)
        low, high = (summary.mean - half, summary.mean + half) if summary.sd > 1e-12 else (summary.low, summary.high)
        is_known = low < high
        relation = statistics.verdict(low - published, high - published, upward) if is_known else statistics.UNKNOWN
        parts.append(f"{relation} the published {published:.4g}{'' if same_model else ' (of another model)'}")
    if (name := hardest_baseline(leads, upward)) is not None:
        relation = _relation(leads[name], upward)
        parts.append(f"{relation} {'its baselines' if relation == statistics.BETTER else name}")
    return "; ".join(parts) or f"{summary.n} seeds, nothing to compare with"


def hardest_baseline(leads: Mapping[str, Lead], upward: bool) -> str | None:
    """Return the best baseline that is not beaten, or of those beaten the one with the largest p value."""
    known = {name: lead for name, lead in leads.items() if lead.n > 1}
    level = [name for name, lead in known.items() if _relation(lead, upward) != statistics.BETTER]
    if level:
        return (min if upward else max)(level, key=lambda name: known[name].mean)
    return max(known, key=lambda name: known[name].p_value, default=None)


def render(table: Sequence[Row], form: str) -> str:
    """Return the table as text with a sentence for each row, as Markdown, as CSV, or as JSON.

    CSV and JSON have every field of a row; what is undefined is empty or null.
    """
    if form == "json":
        return to_json([dataclasses.asdict(row) for row in table])
    if form == "csv":
        return to_csv([{**dataclasses.asdict(row), "baselines": _baselines(row)} for row in table])
    if form == "markdown":
        header = (HEADER[0], "model", *HEADER[1:], "published", "verdict")
        body = [(row.recipe, row.model, *_cells(row)[1:], published(row), row.verdict) for row in table]
        return f"{console.markdown(header, body)}\n\n{NOTES}\n"
    # Baselines stand in the sentences, so that the table fits the terminal.
    sentences = [
        f"{row.recipe}, {row.split}, {row.metric} ({row.model}): {row.verdict}. Baselines: {_baselines(row)}."
        for row in table
    ]
    sentences += [
        f"{row.recipe}, {row.split}: a difference of 1 point of {row.metric} is detected (power 80%) with "
        f"{row.seeds_for_a_point:,} seeds of each setting."
        for row in table
        if row.seeds_for_a_point
    ]
    sources = dict.fromkeys(f"Published for {row.recipe}: {row.source}." for row in table if row.source)
    columns = [(*c[:2], c[2].replace("_", " "), *c[3:5], f"{c[5]} to {c[6]}", c[7]) for c in map(_cells, table)]
    shown = console.table(columns, (*HEADER[:5], "min to max", HEADER[7]))
    return "\n".join([shown, "", *sentences, *sources, NOTES, ""])


def write(path: Path, in_form: Callable[[str], str]) -> None:
    """Write a table, a function of the format, beside `path` in every format of FILES."""
    for form, ending in FILES.items():
        write_text(path.with_suffix(f".{ending}"), in_form(form))


def read(path: Path, parse: Callable[[Any], T], *others: str) -> T | None:
    """Return what `parse` makes of the JSON that `write` left beside `path`, or None without any file of a table.

    Raises:
        UserError: there are such files, or `others` that are written with them, and no JSON that can be parsed.
    """
    names = (*(f"{path.name}.{ending}" for ending in FILES.values()), *others)
    held = [name for name in names if (path.parent / name).exists()]
    if not held:
        return None
    try:
        return parse(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{path.parent} holds {', '.join(held)} of another program or version, which would be overwritten.",
            "Move them elsewhere, or name another --output_dir.",
        ) from error


def from_json(entries: list[dict[str, Any]]) -> list[Row]:
    """Return the rows that `render` has written as JSON."""
    numbers = {field.name for field in dataclasses.fields(Row) if field.type is float}
    found = []
    for entry in entries:
        undefined: dict[str, Any] = {name: math.nan for name in numbers if entry[name] is None}
        found.append(Row(**{**entry, **undefined}))
    return found


def to_json(value: Any) -> str:
    """Return a value as JSON; numbers that are not finite are null."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n"


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records of the same keys as CSV under a header; None and numbers that are not finite are empty."""
    import pandas as pd  # takes longer to import than --help may take

    # As objects, or a column of whole numbers with a gap would become floats.
    text: str = pd.DataFrame(plain(records), dtype=object).to_csv(index=False, lineterminator="\n")
    return text


def summary_of(values: Sequence[float | None]) -> SeedSummary:
    """Return mean, deviation and interval of the values that are defined."""
    return statistics.mean_sd_interval([value for value in values if value is not None])


def published(row: Row) -> str:
    """Return the published value of a row with its source, which names model and split."""
    return "-" if row.published is None else f"{row.published:.4g} ({row.source})"


def _summary(values: Sequence[float | None], metric: str, predicted: Aligned | None) -> SeedSummary:
    """Return mean and deviation over seeds, with the interval over examples too where predictions were kept."""
    summary = summary_of(values)
    if predicted is None or metric not in METRICS or None in values:
        return summary
    found = predicted.two_way(metric, len(values))
    return summary._replace(low=found.low, high=found.high)


def _row(recipe: str, runs: Sequence[RunFolder], split: str, metric: str, predicted: Aligned | None) -> Row:
    first = runs[0].results
    values = [run.scores(split).get(metric) for run in runs]
    baselines = {
        name: [run.scores(split, name).get(metric) for run in runs]
        for name in first["splits"][split].get("baselines", {})
        if runs[0].scores(split, name).get(metric) is not None
    }
    leads = {baseline_name(name, metric): _lead(runs, split, metric, name) for name in baselines}
    summary, defined = _summary(values, metric, predicted), [value for value in values if value is not None]
    model, value = model_name(runs[0].configuration), scores.published_value(first, split, metric)
    source = first["published"].get("source") if value is not None else None
    upward = GREATER_IS_BETTER.get(metric, True)
    hardest = hardest_baseline(leads, upward)
    return Row(
        recipe=recipe,
        model=model,
        split=split,
        metric=metric,
        **summary._asdict(),
        minimum=min(defined, default=math.nan),
        maximum=max(defined, default=math.nan),
        failed=sum(run.is_degenerate(split) for run in runs),
        examples=_labelled(first["splits"][split]),
        baselines={name: summary_of(of_baseline).mean for name, of_baseline in baselines.items()},
        published=value,
        source=source,
        verdict=verdict(
            summary,
            published=value,
            same_model=_names(source or "", model),
            leads=leads,
            upward=upward,
        ),
        baseline=hardest,
        p_value=math.nan if hardest is None else leads[hardest].p_value,
        seeds_for_a_point=statistics.seeds_needed(summary.sd) if upward else None,
    )


def _lead(runs: Sequence[RunFolder], split: str, metric: str, baseline: str) -> Lead:
    """Return the runs' scores − a baseline's where both are defined, with their 95% CI over examples where known."""
    differences, intervals = [], []
    for run in runs:
        a, b = run.scores(split).get(metric), run.scores(split, baseline).get(metric)
        if a is not None and b is not None:
            differences.append(a - b)
            ends = run.results["splits"][split]["baselines"][baseline].get("difference", {}).get(metric, {})
            intervals += [(ends["low"], ends["high"])] if None not in (ends.get("low"), ends.get("high")) else []
    results = runs[0].results["splits"][split]
    units = (results.get("groups") or {}).get("count") or _labelled(results)
    return statistics.lead(differences, intervals if len(intervals) == len(differences) else (), units)


def _labelled(split: Mapping[str, Any]) -> int:
    """Return how many examples are scored: all of them in masked language modeling, which needs no labels."""
    return int(split.get("labelled") or split["rows"])


def _relation(lead: Lead, upward: bool) -> str:
    return statistics.verdict(lead.low, lead.high, upward) if lead.p_value < LEVEL else statistics.EQUAL


def _names(source: str, model: str) -> bool:
    """Return True where a source names a model as a word: distilbert-base-uncased is not bert-base-uncased."""
    return re.search(rf"(?<![\w-]){re.escape(model)}(?![\w-])", source) is not None


def _cells(row: Row) -> tuple[str, ...]:
    sd = "-" if math.isnan(row.sd) else f"{row.sd:.4f}"
    interval = "-" if math.isnan(row.low) else f"{row.low:.4f} to {row.high:.4f}"
    scores = (f"{row.mean:.4f} ± {sd} ({row.n})", interval, f"{row.minimum:.4f}", f"{row.maximum:.4f}")
    return (row.recipe, row.split, row.metric, *scores, str(row.failed), _baselines(row))


def _baselines(row: Row) -> str:
    return ", ".join(f"{baseline_name(name, row.metric)} {value:.4f}" for name, value in row.baselines.items()) or "-"
