"""`python -m tools.ledger`: small committed records of runs, and the tables in the documents made from them.

A record is results/<recipe>/<model>/seed<k>.json. A table stands in a document between `<!-- ledger RECIPE -->` and
`<!-- end -->`; `ledger tables` writes it from the records, so that no figure is typed by hand. Other marks:

    nsp RECIPE              a row for each setting of next-sentence prediction: accuracy, baselines, ranking
    headline MODEL          a row for each recipe of that model that has a published value
    model MODEL             a row for each recipe of that model, with its primary metric
    curve RECIPE/MODEL      how the training loss fell
    paired A B              two settings, each RECIPE/MODEL, over the seeds that both have
    learning NAME           the table of a suite with --train_sizes: results/learning/NAME.json is its suite.json
    bench NAME [PART]       what a benchmark wrote; the part "speed" or "details", or all of it
    facts NAME              what a tutorial says of its data, and what was measured
"""

import itertools
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from bertlab import ROOT, console
from bertlab.cli.arguments import setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.flag_rules import FILES
from bertlab.cli.parser import parse_command
from bertlab.commands import compare, run_specs, suite_table
from bertlab.commands.run_specs import WHERE_AND_HOW
from bertlab.commands.suite_table import Row
from bertlab.console import info
from bertlab.errors import UserError
from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.io import read_json, write_json, write_text
from bertlab.report.run_folder import RunFolder, model_name, runs_in
from bertlab.report.scores import baseline_name
from tools import benchmark_tables, score_figure
from tools.score_figure import Score

RESULTS = ROOT / "results"
DOCUMENTS = ("README.md", "docs/**/*.md")
# Which kind of table, and of what; all that is between the marks is replaced.
MARKED = re.compile(
    r"(<!-- (?P<kind>ledger|nsp|headline|model|paired|curve|learning|bench|facts) "
    r"(?P<name>[\w./-]+(?: [\w./-]+)?) -->\n)"
    r".*?(<!-- end -->)",
    re.DOTALL,
)
HEADER = ("model", "split (rows)", "metric", "mean ± sd (seeds)", "95% CI", "baselines", "published")
SUMMARY = ("recipe", "split (rows)", "metric", "mean ± sd (seeds)", "95% CI", "best baseline", "published")
NSP = (
    *("setting", "pairs", "accuracy, mean ± sd (splits)", "95% CI", "one segment alone", "before training"),
    *("word overlap", "above word overlap", "95% CI", "MRR", "recall@1", "accuracy on IsNext", "on NotNext"),
)
HEADLINE = ("task", "metric", "bertlab, mean ± sd (seeds)", "95% CI", "published", "verdict")
# The model of the picture: of the size of the published ones.
BASE_MODEL = "all-mpnet-base-v2"
# Recipes whose published value is of other data than anyone can have: their scores are not comparable.
OTHER_DATA = {"app_reviews"}
# In how many parts of equal length a record keeps the loss of its training.
CURVE_PARTS = 10
# What a plan says of the training, and not of the machine.
PLAN = {"global_batch", "steps", "warmup_steps"}
# Where the data was, which may differ from machine to machine; its fingerprint says whether it is the same.
PLACES = (*FILES, "data_dir", "text")
# A path of one machine alone: absolute or from somebody's home, by itself or after --flag= or key=.
FOREIGN = re.compile(r"(?P<before>(?:[^/=]*=)*)(?P<path>(?:~[\w.-]*)?/.*[^/].*)", re.DOTALL)


def record(folder: Path, label: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Return where the record of a finished run belongs, and its content.

    It names no folder of the machine: a path in this repository begins there, any other absolute one is cut to its
    last part. Names on the Hub and relative paths stay whole, or two models of one last part would look alike.

    Raises:
        UserError: the folder is not a finished run.
    """
    run = RunFolder.read(folder)
    model = label or model_name(run.configuration)
    entry = {
        "recipe": run.run["recipe"] or "none",
        "model": model,
        "seed": run.run["seed"],
        "command": _without_folders(run.run["command"]),
        "settings": {
            name: _without_folders(value) for name, value in run.configuration.items() if name not in WHERE_AND_HOW
        },
        "plan": run.run["plan"],
        "data": {
            name: {key: split[key] for key in ("rows", "labelled", "from", "fingerprint")}
            for name, split in run.run["data"].items()
        },
        "splits": {name: _scores(split) for name, split in run.results["splits"].items()},
        "training_loss": training_loss(run.log),
        "published": run.results["published"],
        **{key: run.run[key] for key in ("versions", "code", "machine", "seconds", "peak_memory_mb", "finished")},
    }
    return RESULTS / entry["recipe"] / model / f"seed{entry['seed']}.json", entry


def table(recipe: str) -> str:
    """Return the Markdown table of all records of a recipe: mean and sd over seeds, beside the baselines' means.

    Raises:
        UserError: there is no record of that recipe.
    """
    rows = [
        (entries[0]["model"], *_cells(entries, row, suite_table.published(row)))
        for entries in _of_recipe(recipe)
        for row in _scored(entries)
    ]
    return console.markdown(HEADER, rows) + "\n"


def next_sentence(recipe: str) -> str:
    """Return the Markdown table of the settings of a recipe of next-sentence prediction.

    Raises:
        UserError: there is no record of that recipe.
    """
    rows = []
    for entries in _of_recipe(recipe):
        row, *others = _scored(entries)
        _, _, score, confidence, *_ = _cells(entries, row, "")
        alone = max(row.baselines[name] for name in ("first_alone", "second_alone"))
        # A pretrained next-sentence head has a baseline of its own name.
        before = row.baselines.get("before_training", row.baselines.get("zero_shot"))
        means = {other.metric: other.mean for other in others}
        groups = [group for entry in entries for group in entry["splits"][row.split]["by_source"].items()]
        is_next = np.mean([found["accuracy"] for name, found in groups if name == "next"])
        not_next = np.mean([found["accuracy"] for name, found in groups if name != "next"])
        rows.append(
            (
                *(entries[0]["model"], f"{row.examples:,}", score, confidence),
                *map(_figure, (alone, before, row.baselines["word_overlap"])),
                *_above(entries, row, "word_overlap"),
                *map(_figure, (means["mrr"], means["recall_at_1"], is_next, not_next)),
            )
        )
    return console.markdown(NSP, rows) + "\n"


def of_model(model: str) -> str:
    """Return the Markdown table of one model's primary score in each recipe, beside the published value.

    Raises:
        UserError: there is no record of that model.
    """
    rows = []
    for entries in _of_model(model):
        row = _headline_row(entries)
        *cells, _, published = _cells(entries, row, suite_table.published(row))
        rows.append((entries[0]["recipe"], *cells, _best_baseline(row), published))
    return console.markdown(SUMMARY, rows) + "\n"


def headline(model: str) -> str:
    """Return the Markdown table of one model's primary scores where a value is published, with a verdict on each.

    Raises:
        UserError: there is no record of that model.
    """
    rows = []
    for entries, row in published_scores(model):
        interval = interval_of(entries, row)
        _, metric, score, confidence, *_ = _cells(entries, row, "")
        published = f"{row.published:.3f}, {str(row.source).partition(',')[0]}"
        rows.append((entries[0]["recipe"], metric, score, confidence, published, _verdict(interval, row)))
    return console.markdown(HEADLINE, rows) + "\n"


def published_scores(model: str) -> list[tuple[list[dict[str, Any]], Row]]:
    """Return the records and the primary score of each recipe of a model that has a published value."""
    found = [
        (entries, _headline_row(entries)) for entries in _of_model(model) if entries[0]["recipe"] not in OTHER_DATA
    ]
    return [(entries, row) for entries, row in found if row.published is not None]


def scores_of(model: str) -> list[Score]:
    """Return what the picture of a model shows."""
    found = []
    for entries, row in published_scores(model):
        low, high = interval_of(entries, row) or (row.mean, row.mean)
        name = f"{entries[0]['recipe']}: {row.metric.replace('_', ' ')}"
        found.append(Score(name, row.mean, low, high, cast(float, row.published)))
    return found


def interval_of(entries: Sequence[dict[str, Any]], row: Row) -> tuple[float, float] | None:
    """Return a 95% CI of a mean over seeds; None where one run without an interval is all there is.

    Runs that were scored on the same rows share their luck with these: the mean bootstrap interval of a run is widened
    by Student's t over seeds. Where each run has its own held-out rows, it is Student's t alone.
    """
    scores = [entry["splits"][row.split]["metrics"].get(row.metric, {}) for entry in entries]
    scores = [score for score in scores if score.get("value") is not None and score.get("low") is not None]
    own_rows = len({entry["settings"].get("split_seed") for entry in entries if entry.get("settings")}) > 1
    if own_rows or not scores:
        return None if row.n < 2 else (row.low, row.high)
    seeds = 0.0 if row.n < 2 else row.mean - row.low
    below, above = (np.mean([abs(score[end] - score["value"]) for score in scores]) for end in ("low", "high"))
    return row.mean - math.hypot(below, seeds), row.mean + math.hypot(above, seeds)


def paired(a: str, b: str) -> str:
    """Return the Markdown table of two settings, each named RECIPE/MODEL, over the seeds that both have records of.

    Raises:
        UserError: they share fewer than two seeds.
    """
    sides = ({entry["seed"]: _as_run(entry) for entry in _entries(RESULTS / name)} for name in (a, b))
    scores = compare.paired_scores(*sides)
    if not scores:
        raise UserError(f"results/{a} and results/{b} share fewer than two seeds.", "Write them with `ledger record`.")
    return (
        console.markdown(statistics.COMPARISON_HEADER, [statistics.comparison_row(*score) for score in scores]) + "\n"
    )


def curve(name: str) -> str:
    """Return the Markdown table of how the training loss fell, a mean over the seeds of RECIPE/MODEL.

    Raises:
        UserError: there is no such record, none that kept its training loss, or they are of unequal length.
    """
    curves = [entry["training_loss"] for entry in _entries(RESULTS / name) if entry.get("training_loss")]
    if not curves:
        raise UserError(f"results/{name} has no training loss.", "Write it with `ledger record RUN`.")
    if len({tuple(step for step, _ in curve) for curve in curves}) > 1:
        raise UserError(f"results/{name}: its runs ended at different steps.", "Name a model with runs of one length.")
    steps, losses = [step for step, _ in curves[0]], np.mean([[loss for _, loss in curve] for curve in curves], axis=0)
    header = ("training steps", *(f"to {step:,}" for step in steps))
    return console.markdown(header, [("mean loss", *(f"{loss:.3f}" for loss in losses))]) + "\n"


def learning(name: str) -> str:
    """Return the Markdown table of a learning curve: the first metric of every split by training rows."""
    rows = json.loads((RESULTS / "learning" / f"{name}.json").read_text(encoding="utf-8"))
    header = ("training rows", "split", "metric", "mean ± sd (seeds)", "95% CI")
    cells = [
        (
            row["recipe"].rpartition("/train")[2],
            row["split"],
            row["metric"].replace("_", " "),
            f"{row['mean']:.3f} ± {row['sd']:.3f} ({row['n']})",
            f"{row['low']:.3f} to {row['high']:.3f}",
        )
        for row in rows
        if row["metric"] == rows[0]["metric"]
    ]
    return console.markdown(header, cells) + "\n"


def training_loss(log: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Return the last step of each of CURVE_PARTS parts of a training with the mean of the losses logged in it.

    `log` is Trainer's log_history, each of whose losses is the mean of the steps since the one before.
    """
    logged = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
    if len(logged) < CURVE_PARTS:
        return []
    ends = [round(logged[-1][0] * part / CURVE_PARTS) for part in range(CURVE_PARTS + 1)]
    return [
        (end, float(np.mean([loss for step, loss in logged if begin < step <= end])))
        for begin, end in itertools.pairwise(ends)
    ]


def with_tables(text: str) -> str:
    """Return a document with every table between its marks replaced."""
    makers = {
        "ledger": table,
        "nsp": next_sentence,
        "headline": headline,
        "model": of_model,
        "paired": lambda names: paired(*names.split()),
        "curve": curve,
        "learning": learning,
        "bench": benchmark_tables.markdown,
        "facts": benchmark_tables.facts,
    }
    return MARKED.sub(lambda found: f"{found[1]}\n{makers[found['kind']](found['name'])}\n{found[4]}", text)


def documents() -> list[Path]:
    """Return the documents that may hold tables."""
    return [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


@dataclass
class LedgerArguments:
    """What is written, and of which runs."""

    command: Literal["record", "tables"] = setting(
        None,
        "record: write the records of finished runs; tables: write the tables in README.md and docs/",
        positional=True,
    )
    runs: list[Path] = setting([], "record: the folder of a run, or of a suite with all its runs", positional=True)
    label: str | None = setting(None, "record: what to call the model instead of its own name")


@entry_point
def main(argv: Sequence[str]) -> int:
    """Record runs, or write the tables."""
    options = parse_command(argv, LedgerArguments, __doc__ or "")
    is_record = options.command == "record"
    if is_record is not bool(options.runs) or (options.label and not is_record):
        raise UserError(f"ledger {options.command}: not understood.", "Write `record RUN …` or `tables`.")
    if options.command == "tables":
        for document in documents():
            text = document.read_text(encoding="utf-8")
            write_text(document, with_tables(text))
        score_figure.draw_scores(BASE_MODEL, scores_of(BASE_MODEL), score_figure.FIGURE)
        return 0
    for run in (run for folder in options.runs for run in runs_in(folder)):
        path, entry = record(run, options.label)
        _refuse_another(path, entry)
        _report_replaced(path, entry)
        write_json(path, entry)
        print(path.relative_to(ROOT))
    return 0


def _entries(model: Path) -> list[dict[str, Any]]:
    """Return the records of one recipe and model, from its first seed on.

    Raises:
        UserError: they are of runs with other training values or data, over which no mean may be taken.
    """
    paths = sorted(model.glob("seed*.json"))
    entries = [read_json(path) for path in paths]
    for path, entry in zip(paths, entries, strict=True):
        unlike = _unlike(entries[0], entry)
        if unlike:
            raise UserError(
                f"{paths[0]} and {path.name} are of unlike runs ({unlike}).",
                "Record one kind under a name of its own with --label.",
            )
    return entries


def _unlike(a: dict[str, Any], b: dict[str, Any]) -> str:
    """Return the part of two records by which their runs are unlike, and what in it; nothing where they are alike.

    Runs with another --split_seed are alike. The first records have no settings.
    """
    settings = _comparable(a), _comparable(b)
    if all(settings) and settings[0].get("split_seed") != settings[1].get("split_seed"):
        # Repeats with other held-out documents: rows and steps differ with them.
        a, b = ({**entry, "plan": {}, "data": {}} for entry in (a, b))
        settings[1]["split_seed"] = settings[0].get("split_seed")
    plan, data = ((a.get(part) or {}, b.get(part) or {}) for part in ("plan", "data"))
    script = run_specs.NSP if "negatives" in {**settings[0], **settings[1]} else run_specs.CLASSIFICATION
    shared = {
        "settings": {name for name, *_ in run_specs.differences(*settings, script.groups)} if all(settings) else (),
        "plan": {name for name in PLAN & plan[0].keys() & plan[1].keys() if plan[0][name] != plan[1][name]},
        "data": {name for name in {**data[0], **data[1]} if data[0].get(name) != data[1].get(name)}
        if all(data)
        else (),
    }
    return next((f"{part}: {', '.join(sorted(names))}" for part, names in shared.items() if names), "")


def _comparable(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a record's settings with the last part alone of where its data lay."""
    settings = entry.get("settings") or {}
    return {name: _last(value) if name in PLACES else value for name, value in settings.items()}


def _refuse_another(path: Path, entry: dict[str, Any]) -> None:
    """Refuse to write over the record of a run with other values, model or data, or beside one of another seed.

    Raises:
        UserError: there is one.
    """
    for existing in sorted(path.parent.glob("seed*.json"), key=lambda other: (other != path, other.name)):
        unlike = _unlike(read_json(existing), entry)
        if unlike:
            raise UserError(
                f"{existing} is the record of another run ({unlike}).",
                "Name this one with --label, or delete that record.",
            )


def _report_replaced(path: Path, entry: dict[str, Any]) -> None:
    """Report that a record is replaced by that of a later run: nothing in them distinguishes the two models."""
    before = read_json(path).get("finished") if path.is_file() else None
    if before not in (None, entry.get("finished")):
        info(f"{path} replaced: it was of a run that finished {before}. --label keeps another model's apart.")


def _models(folder: Path) -> list[Path]:
    """Return the folders of records in a folder, those of one recipe and model each."""
    return sorted({path.parent for path in folder.rglob("seed*.json")})


def _of_recipe(recipe: str) -> list[list[dict[str, Any]]]:
    """Return the records of each model, or setting, of a recipe.

    Raises:
        UserError: there is none.
    """
    found = [_entries(folder) for folder in _models(RESULTS / recipe)]
    if not found:
        raise UserError(f"there is no record of {recipe!r} under results/.", "Write one with `ledger record RUN`.")
    return found


def _of_model(model: str) -> list[list[dict[str, Any]]]:
    """Return the records of each recipe that a model was trained with.

    Raises:
        UserError: there is none.
    """
    found = [_entries(folder) for folder in _models(RESULTS) if folder.name == model]
    if not found:
        raise UserError(f"there is no record of {model!r} under results/.", "Write one with `ledger record RUN`.")
    return found


def _scored(entries: Sequence[dict[str, Any]]) -> list[Row]:
    """Return a row for every metric of every split of one recipe and model."""
    return suite_table.rows("", [_as_run(entry) for entry in entries])


def _as_run(entry: dict[str, Any]) -> RunFolder:
    splits = {
        name: {**split, "baselines": {key: {"metrics": found} for key, found in split["baselines"].items()}}
        for name, split in entry["splits"].items()
    }
    results = {"problem_type": "", "published": entry.get("published"), "splits": splits}
    return RunFolder(Path(), results, {"configuration": entry.get("settings") or {}}, [])


def _headline_row(entries: Sequence[dict[str, Any]]) -> Row:
    """Return the primary score of one recipe and model: of the published value's split, or of the first."""
    scored = _scored(entries)
    published = (entries[0].get("published") or {}).get("split")
    return next((row for row in scored if row.split == published), scored[0])


def _best_baseline(row: Row) -> str:
    order = max if GREATER_IS_BETTER.get(row.metric, True) else min
    best = order(row.baselines, key=lambda name: row.baselines[name], default=None)
    return "-" if best is None else f"{baseline_name(best, row.metric)} {row.baselines[best]:.3f}"


def _verdict(interval: tuple[float, float] | None, row: Row) -> str:
    """Return how a score relates to the published value, which is of another model and one run."""
    if interval is None or row.published is None:
        return "-"
    if interval[0] <= row.published <= interval[1]:
        return "not significantly different"
    return "significantly better" if row.mean > row.published else "significantly worse"


def _cells(entries: Sequence[dict[str, Any]], row: Row, published: str) -> tuple[str, ...]:
    """Return the cells under HEADER, but for the first."""
    interval = interval_of(entries, row)
    return (
        f"{row.split} ({row.examples:,})",
        row.metric.replace("_", " "),
        f"{_figure(row.mean)}{'' if math.isnan(row.sd) else f' ± {row.sd:.3f}'} ({row.n})",
        "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        ", ".join(f"{baseline_name(name, row.metric)} {value:.3f}" for name, value in row.baselines.items()) or "-",
        published,
    )


def _above(entries: Sequence[dict[str, Any]], row: Row, baseline: str) -> tuple[str, str]:
    """Return by how much runs are above a baseline on average, and Student's t 95% CI over the runs."""
    splits = [entry["splits"][row.split] for entry in entries]
    above = statistics.mean_sd_interval(
        [split["metrics"][row.metric]["value"] - split["baselines"][baseline][row.metric] for split in splits]
    )
    return f"{above.mean:+.3f}", "-" if above.n < 2 else f"{above.low:+.3f} to {above.high:+.3f}"


def _figure(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _scores(split: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": split["role"],
        "rows": split["rows"],
        "metrics": split.get("metrics", {}),
        "other": split.get("other", {}),
        "baselines": {name: control["metrics"] for name, control in split.get("baselines", {}).items()},
        "by_source": split.get("by_source", {}) if len(split.get("by_source", {})) <= 6 else {},
    }


def _without_folders(value: Any) -> Any:
    """Return a word or setting, or a list or mapping of such, without the folders of this machine."""
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    found = FOREIGN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    path = Path(found["path"])
    return found["before"] + (path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name)


def _last(value: Any) -> Any:
    """Return the last part of a path, or of each of several."""
    if isinstance(value, list):
        return [_last(item) for item in value]
    return Path(value).name if isinstance(value, str) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
