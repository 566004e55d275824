"""The table of many runs: mean, spread, interval, failures, baselines and a verdict for each recipe and metric."""

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertlab import console
from bertlab.commands import run_specs
from bertlab.errors import UserError
from bertlab.evaluation import degenerate, statistics
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.io import read_json
from bertlab.report import run_folder

WORDS = (
    "95% CI: Student's t over seeds, for the mean. Failed: a run is degenerate, as it predicts one class only or its "
    "training loss in the last epoch is not below that of the best constant. A published value is that of one run: "
    "it is compared with the interval in which one more seed would fall, 95 of 100 times."
)


@dataclass(frozen=True)
class FinishedRun:
    """What a run left behind, as far as the table needs it."""

    folder: Path
    seed: int
    results: dict[str, Any]
    told: dict[str, Any]
    learned_nothing: bool | None

    @classmethod
    def read(cls, folder: Path) -> "FinishedRun":
        """Return the facts of a finished run.

        Raises:
            UserError: one of its files is missing or damaged.
        """
        results, told = (read_json(folder / name, run_specs.DO_AGAIN) for name in ("results.json", "run.json"))
        trained = told.get("configuration", {}).get("do_train") and (folder / "trainer_state.json").is_file()
        state = read_json(folder / "trainer_state.json", run_specs.DO_AGAIN) if trained else {}
        failed = degenerate.is_degenerate(told, results["problem_type"], state.get("log_history", []))
        return cls(folder, told["seed"], results, told, failed)

    def failed(self, split: str) -> bool:
        """Return True where the run learned nothing, or predicts one class for all of a split."""
        return bool(self.learned_nothing) or degenerate.only_class(self.results["splits"][split]) is not None


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


def rows(recipe: str, runs: Sequence[FinishedRun]) -> list[Row]:
    """Return a row for every metric of every scored split.

    Raises:
        UserError: the runs did not see the same data.
    """
    _refuse_other_data(runs)
    if not runs:
        return []
    first = runs[0].results
    return [
        _row(recipe, runs, split, metric)
        for split, told in first["splits"].items()
        for metric in (*told.get("metrics", {}), *told.get("other", {}))
    ]


def verdict(
    spread: statistics.SeedSummary,
    *,
    published: float | None,
    same_model: bool,
    leads: Mapping[str, statistics.SeedSummary],
    upward: bool = True,
) -> str:
    """Return the verdicts on a mean over seeds against a published value and against the best baseline not beaten.

    A published value is mostly that of one run. It is not significantly different where one more run of ours would
    fall: the t prediction interval, which is sqrt(n + 1) times as wide as that of the mean. `leads` are the runs'
    scores − those of each baseline, seed by seed: a baseline may change with the seed, as an untrained head does.
    """
    if spread.n < 2:
        return "not comparable: one seed" if spread.n else "no score"
    parts = []
    if published is not None:
        half, difference = (spread.high - spread.low) / 2 * math.sqrt(spread.n + 1), spread.mean - published
        relation = statistics.verdict(difference - half, difference + half, upward)
        parts.append(f"{relation} the published {published:.4g}{'' if same_model else ' (of another model)'}")
    leads = {name: lead for name, lead in leads.items() if lead.n > 1}
    if leads:
        verdicts = {name: statistics.verdict(lead.low, lead.high, upward) for name, lead in leads.items()}
        level = [name for name, relation in verdicts.items() if relation != statistics.BETTER]
        best = (min if upward else max)(level, key=lambda name: leads[name].mean, default="")
        parts.append(f"{verdicts[best]} {best.replace('_', ' ')}" if best else f"{statistics.BETTER} its baselines")
    return "; ".join(parts) or f"{spread.n} seeds, nothing to compare with"


def as_text(table: Sequence[Row]) -> str:
    """Return the table for a terminal, under it a sentence for each row, and what the words mean."""
    header = ("recipe", "split", "metric", "mean ± sd (n)", "95% CI", "min", "max", "failed", "baselines")
    lines = [console.table([_cells(row) for row in table], header), ""]
    lines += [f"{row.recipe}, {row.split}, {row.metric} ({row.model}): {row.verdict}." for row in table]
    sources = dict.fromkeys(f"Published for {row.recipe}: {row.source}." for row in table if row.source)
    return "\n".join([*lines, *sources, WORDS]) + "\n"


def as_markdown(table: Sequence[Row]) -> str:
    """Return the table as Markdown, with model, published value, its source and the verdict in it."""
    header = ("recipe", "split", "metric", "mean ± sd (n)", "95% CI", "min", "max", "failed", "baselines")
    body = [(*_cells(row)[:1], row.model, *_cells(row)[1:], _published(row), row.verdict) for row in table]
    return f"{console.markdown((header[0], 'model', *header[1:], 'published', 'verdict'), body)}\n\n{WORDS}\n"


def as_csv(table: Sequence[Row]) -> str:
    """Return the table as CSV, a column for each field."""
    stream = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row)]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in table:
        values = {**dataclasses.asdict(row), "baselines": _baselines(row)}
        writer.writerow(["" if _unknown(values[name]) else values[name] for name in names])
    return stream.getvalue()


def as_json(table: Sequence[Row]) -> str:
    """Return the table as JSON, an object for each row; what is undefined is null."""
    found = [{k: None if _unknown(v) else v for k, v in dataclasses.asdict(row).items()} for row in table]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "json": as_json}
# The forms that are kept, and how their files end.
FILES = {"markdown": "md", "csv": "csv", "json": "json"}


def _row(recipe: str, runs: Sequence[FinishedRun], split: str, metric: str) -> Row:
    found = [_score(run, split, metric) for run in runs]
    scores, spread = [value for value in found if value is not None], _known(found)
    told = runs[0].results
    controls = {
        name: [_control(run, split, name, metric) for run in runs]
        for name, control in told["splits"][split].get("baselines", {}).items()
        if control["metrics"].get(metric) is not None
    }
    model, published = run_folder.model_name(runs[0].told["configuration"]), told.get("published") or {}
    value = (published.get("values") or {}).get(metric) if published.get("split") == split else None
    source = published.get("source") if value is not None else None
    return Row(
        recipe=recipe,
        model=model,
        split=split,
        metric=metric,
        **{name: getattr(spread, name) for name in ("mean", "sd", "n", "low", "high")},
        minimum=min(scores, default=math.nan),
        maximum=max(scores, default=math.nan),
        failed=sum(run.failed(split) for run in runs),
        examples=told["splits"][split]["rows"],
        baselines={name: _known(values).mean for name, values in controls.items()},
        published=value,
        source=source,
        verdict=verdict(
            spread,
            published=value,
            same_model=_names(source or "", model),
            leads={name: _lead(found, values) for name, values in controls.items()},
            upward=GREATER_IS_BETTER.get(metric, True),
        ),
    )


def _score(run: FinishedRun, split: str, metric: str) -> float | None:
    told = run.results["splits"].get(split, {})
    if metric in told.get("metrics", {}):
        return told["metrics"][metric]["value"]
    return told.get("other", {}).get(metric)


def _control(run: FinishedRun, split: str, name: str, metric: str) -> float | None:
    return run.results["splits"].get(split, {}).get("baselines", {}).get(name, {}).get("metrics", {}).get(metric)


def _known(values: Sequence[float | None]) -> statistics.SeedSummary:
    """Return mean and spread of the values that are defined."""
    return statistics.mean_sd_interval([value for value in values if value is not None])


def _lead(scores: Sequence[float | None], control: Sequence[float | None]) -> statistics.SeedSummary:
    """Return mean and spread of scores less a baseline's, run by run, where both are defined."""
    pairs = zip(scores, control, strict=True)
    return _known([None if one is None or other is None else one - other for one, other in pairs])


def _names(source: str, model: str) -> bool:
    """Return True where a source names a model as a word: distilbert-base-uncased is not bert-base-uncased."""
    return re.search(rf"(?<![\w-]){re.escape(model)}(?![\w-])", source) is not None


def _refuse_other_data(runs: Sequence[FinishedRun]) -> None:
    """Refuse one mean over runs that were trained or scored on different rows."""
    for run in runs[1:]:
        for split, told in run.told["data"].items():
            before = runs[0].told["data"].get(split, {}).get("fingerprint")
            if told["fingerprint"] != before:
                raise UserError(
                    f"{runs[0].folder} and {run.folder} did not see the same data (split {split}).",
                    "Delete the folder of the one that is out of date and call again.",
                )


def _cells(row: Row) -> tuple[str, ...]:
    sd = "-" if math.isnan(row.sd) else f"{row.sd:.4f}"
    interval = "-" if math.isnan(row.low) else f"{row.low:.4f} to {row.high:.4f}"
    spread = (
        f"{row.mean:.4f} ± {sd} ({row.n})",
        interval,
        f"{row.minimum:.4f}",
        f"{row.maximum:.4f}",
        str(row.failed),
    )
    return (row.recipe, row.split, row.metric, *spread, _baselines(row))


def _baselines(row: Row) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in row.baselines.items()) or "-"


def _published(row: Row) -> str:
    return "-" if row.published is None else f"{row.published:.4g} ({row.source})"


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
