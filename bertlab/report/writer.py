"""The end of a run: numbers, predictions, mistakes and provenance on disk, then all that is drawn from them."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab import hub, io
from bertlab.cli.arguments import RunArguments
from bertlab.cli.parser import Invocation
from bertlab.console import is_first_process, say, table, warning
from bertlab.evaluation import degenerate
from bertlab.evaluation.evaluate import SplitResult
from bertlab.evaluation.metrics import METRICS
from bertlab.report import misclassified, predictions, provenance
from bertlab.report.results import Fitted, baseline_predictions, fit, split_results, with_thresholds

if TYPE_CHECKING:
    from datasets import Dataset

    from bertlab.data.dataset import Data
    from bertlab.data.summary import SplitSummary
    from bertlab.training.plan import Plan

# More groups than this are for results.json, not for the terminal.
SOURCES_PRINTED = 6
BASELINE_NAMES = {
    "majority": "always guessing the majority class",
    "mean": "always guessing the mean",
    "bag_of_words": "a bag of words",
    "word_overlap": "word overlap",
    "before_training": "this model before training",
    "zero_shot": "its pretrained head, zero-shot,",
}


@dataclass(frozen=True)
class Run:
    """All that a run knows when it ends."""

    run_args: RunArguments
    invocation: Invocation
    data: "Data"
    tokenized: dict[str, "Dataset"]
    summaries: list["SplitSummary"]
    plan: "Plan"
    results: list[SplitResult]
    selection: list[SplitResult]
    train_metrics: dict[str, Any]
    controls: dict[str, Any] | None = None

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.invocation.settings["output_dir"])


def finish(run: Run) -> None:
    """Write and print what a run found, on its first process; the others have nothing left to do.

    run.json is written last: where it stands, the run has finished.
    """
    if is_first_process():
        found, about = write(run), io.plain(_provenance(run))
        print_scores(found, run.folder)
        _draw(run.folder, about)
        io.write_json(run.folder / "run.json", about)


def _draw(folder: Path, about: dict[str, Any]) -> None:
    """Draw plots, page and card; the numbers are safe by now, so a fault here costs pictures and not the run."""
    from bertlab.report.render import draw

    try:
        draw(folder, about)
    except Exception as error:
        warning(f"the report could not be drawn ({error}); `python -m bertlab report {folder}` tries again.")
        return
    say(f"Open {folder / 'report.html'}")


def write(run: Run) -> dict[str, Any]:
    """Write scores, predictions and mistakes; return what results.json says."""
    fitted = fit(next(iter(run.selection), None), run.data.schema)
    results = [with_thresholds(r, run.data.schema, fitted, run.data.metrics) for r in run.results]
    controls = run.controls if run.controls is not None else _controls(run)
    found = _results(run, results, fitted, controls)
    for result in (result for result in results if result.has_predictions):
        rows = _rows(run, result.name)
        predictions.write(run.folder, result, run.data.schema, rows["idx"], fitted.temperature)
        if result.labels is not None:
            misclassified.write(run.folder, result, run.data.schema, rows, fitted.temperature)
    io.write_json(run.folder / "results.json", found)
    _write_metrics(run, results)
    return found


def print_scores(found: dict[str, Any], folder: Path) -> None:
    """Print the table of scores, what there is to say of each split, and where the run lies."""
    header, rows = _score_table(found)
    if rows:
        say()
        say(table(rows, header))
        if found["published"]["values"] and found["published"]["source"]:
            say(f"published: {found['published']['source']}")
    lead = found["metrics"][0]
    for split, told in found["splits"].items():
        path = folder / "predictions" / f"{split}.tsv"
        if not told["labelled"] and path.is_file():
            say(f"{split}: {told['rows']:,} predictions in {path}")
        if told.get("by_source") and len(told["by_source"]) <= SOURCES_PRINTED:
            groups = (f"{name} {scores[lead]:.3f} (n = {scores['n']})" for name, scores in told["by_source"].items())
            say(f"{split}, {lead} by kind: {', '.join(groups)}")
        if told.get("other"):
            say(f"{split}: " + ", ".join(f"{name} {value:,.4g}" for name, value in told["other"].items()))
    for line in headlines(found):
        say(line)
    for split, told in found["splits"].items():
        only = degenerate.only_class(told)
        if only is not None:
            warning(
                f"{split}: all {told['labelled']:,} rows are predicted to be {found['class_names'][only]!r}; the "
                "model tells nothing apart. More epochs or another --learning_rate may help."
            )
    say(f"\nEverything is in {folder}")


def _score_table(found: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return header and rows: every metric of every split with its interval, baselines, published value."""
    published, split_of_it = found["published"]["values"], found["published"]["split"]
    names = list(dict.fromkeys(name for told in found["splits"].values() for name in told.get("baselines", {})))
    rows: list[tuple[object, ...]] = []
    for split, told in found["splits"].items():
        for metric, score in told.get("metrics", {}).items():
            low, high = score["low"], score["high"]
            interval = "-" if low is None or low != low else f"{low:.4f} to {high:.4f}"
            others = (told["baselines"].get(name, {"metrics": {}})["metrics"].get(metric) for name in names)
            row = (split, metric, score["value"], interval, score["n"], *others)
            rows.append((*row, published.get(metric) if split == split_of_it else None) if published else row)
    header = ("split", "metric", "score", "95 % interval", "n", *(name.replace("_", " ") for name in names))
    return (*header, "published") if published else header, rows


def headlines(found: dict[str, Any]) -> list[str]:
    """Return one sentence per scored split: the leading metric, its interval, and what the baselines score."""
    lead = found["metrics"][0]
    lines = []
    for split, told in found["splits"].items():
        if lead in told.get("metrics", {}):
            score = told["metrics"][lead]
            known = score["low"] is not None and score["low"] == score["low"]
            interval = f"{score['low']:.3f} to {score['high']:.3f}, " if known else ""
            line = f"{split}: {lead} {score['value']:.3f} ({interval}n = {score['n']})"
            for name, control in told["baselines"].items():
                line += f"; {BASELINE_NAMES.get(name, name)} scores {control['metrics'][lead]:.3f}"
            lines.append(line + ".")
    return lines


def _controls(run: Run) -> dict[str, Any]:
    """Return the baselines' predictions for every labelled split; without training rows there are none."""
    train = run.data.train
    labelled = [result.name for result in run.results if result.labels is not None]
    if train is None or not labelled:
        return {}
    rows = run.data.splits[train]
    return baseline_predictions(
        lambda chosen: _joinable(run.data.read(rows.select(chosen)[:])),
        np.asarray(run.tokenized[train]["labels"][:]),
        {name: _joinable(run.data.texts(name)) for name in labelled},
        run.data.schema,
    )


def _results(run: Run, results: Sequence[SplitResult], fitted: Fitted, controls: dict[str, Any]) -> dict[str, Any]:
    options = run.run_args
    splits = {}
    for result in results:
        told = split_results(
            result,
            run.data.schema,
            run.data.metrics,
            fitted,
            controls,
            run.tokenized[result.name]["source"][:] if "source" in run.tokenized[result.name].column_names else None,
            options.metric_batch_size if result.name in run.data.test else None,
        )
        splits[result.name] = {"role": "validation" if result.name in run.data.validation else "test", **told}
    chosen_on = next(iter(run.selection), None)
    return {
        "recipe": run.invocation.recipe,
        "problem_type": run.data.schema.kind,
        "class_names": run.data.schema.class_names,
        "metrics": run.data.metrics,
        "temperature": fitted.temperature,
        "thresholds": fitted.thresholds,
        # What the run was chosen by, for sweeps; never a score to report.
        "selection": None if chosen_on is None else {"rows": len(chosen_on.logits), "metrics": chosen_on.metrics},
        "published": {
            "split": options.published_split or next(iter(run.data.evaluation_splits), None),
            "values": {name: float(value) for name, value in options.published.items() if name in METRICS},
            "source": options.published_source,
        },
        "splits": splits,
    }


def _rows(run: Run, name: str) -> dict[str, Sequence[Any]]:
    tokenized = run.tokenized[name]
    texts = dict(zip(("text", "text_pair"), run.data.texts(name), strict=False))
    return {**texts, **{column: tokenized[column][:] for column in ("idx", "length", "full_length")}}


def _joinable(texts: list[list[str]]) -> Sequence[Any]:
    return texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))


def _write_metrics(run: Run, results: Sequence[SplitResult]) -> None:
    """Write the files that Hugging Face's scripts write, under their names and keys."""
    found: dict[str, dict[str, Any]] = {"train": run.train_metrics} if run.train_metrics else {}
    for result in results:
        role = result.prefix.split("_")[0]
        keys = {f"{result.prefix}_{name}": value for name, value in result.metrics.items()}
        found.setdefault(role, {}).update({**keys, f"{result.prefix}_samples": len(result.logits)})
    for role, metrics in found.items():
        io.write_json(run.folder / f"{role}_results.json", metrics)
    io.write_json(run.folder / "all_results.json", {k: v for metrics in found.values() for k, v in metrics.items()})


def _from_hub(settings: dict[str, Any]) -> bool:
    name = settings.get("model_name_or_path")
    return name is not None and not hub.is_local(name)


def _provenance(run: Run) -> dict[str, Any]:
    return {
        "command": provenance.command(sys.argv[0], run.invocation.argv),
        "recipe": run.invocation.recipe,
        "configuration": run.invocation.settings,
        "eval_split": run.data.eval_split,
        "model_from_hub": _from_hub(run.invocation.settings),
        "pairs": any(len(run.data.read(split[:1])) > 1 for split in run.data.splits.values()),
        "seed": run.invocation.settings.get("seed", 42),
        "plan": run.plan.__dict__,
        "data": {
            item.name: {
                **item.as_dict(),
                "from": Path(run.data.origin[item.name]).name,
                "fingerprint": provenance.fingerprint(run.data.splits[item.name], run.data.read),
                "dropped": run.data.dropped.get(item.name, 0),
            }
            for item in run.summaries
        },
        "streamed_from": run.data.stream and Path(run.data.stream.origin).name,
        "versions": provenance.versions(),
        "code": provenance.commit(),
        "machine": provenance.machine(),
        "peak_memory_mb": provenance.peak_memory_mb(),
        "seconds": {
            "whole_run": time.time() - run.invocation.started,
            "training": run.train_metrics.get("train_runtime"),
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
