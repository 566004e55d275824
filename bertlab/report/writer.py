"""The end of a run: write results, predictions, misclassified examples and provenance, then render the report."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab import hub, io
from bertlab.cli.arguments import RunArguments
from bertlab.cli.flag_rules import FILES
from bertlab.cli.parser import Invocation
from bertlab.console import duration, info, is_first_process, say, table, warning
from bertlab.evaluation import degenerate
from bertlab.evaluation.evaluate import SplitResult
from bertlab.evaluation.metrics import METRICS
from bertlab.models.loading import resolve
from bertlab.report import misclassified, predictions, provenance, scores
from bertlab.report.results import Baselines, Fitted, baseline_predictions, fit, split_results, with_fitted
from bertlab.report.run_folder import RunFolder
from bertlab.training import memory

if TYPE_CHECKING:
    from datasets import Dataset

    from bertlab.data.dataset import Data
    from bertlab.training.plan import Plan

# More sources than this are in results.json, not on the terminal.
SOURCES_PRINTED = 6


@dataclass(frozen=True)
class Run:
    """Everything that is written at the end of a run."""

    run_args: RunArguments
    invocation: Invocation
    data: "Data"
    tokenized: dict[str, "Dataset"]
    summaries: dict[str, dict[str, Any]]
    plan: "Plan"
    results: list[SplitResult]
    selection: list[SplitResult]
    train_metrics: dict[str, Any]
    baselines: Baselines | None = None
    repository: str | None = None  # that --push_to_hub uploads to

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.invocation.settings["output_dir"])


def write_run(run: Run) -> None:
    """Write and print the results of a run, on its first process only.

    run.json is written last: where it exists, the run has finished.
    """
    if is_first_process():
        results, run_json = write_results(run), io.plain(_provenance(run))
        print_scores(results, run.folder, "negative type" if "negatives" in run_json["configuration"] else "source")
        is_rendered = _render(run.folder, run_json)
        io.write_json(run.folder / "run.json", run_json)
        _print_end(run, run_json, is_rendered)


def _print_end(run: Run, run_json: dict[str, Any], is_rendered: bool) -> None:
    """Print how long the run took, where its files are, and the command that uses its model."""
    page = f"; open {run.folder / 'report.html'}" if is_rendered else ""
    say(f"\nFinished in {duration(run_json['seconds']['whole_run'])}. All files are in {run.folder}{page}")
    if run.train_metrics and run_json["configuration"].get("objective") != "mlm":
        texts = '--pair "A first text." "A second text."' if run_json["pairs"] else '--text "A text."'
        say(f"Next: bertlab predict {shlex.quote(str(run.folder))} {texts}")


def _render(folder: Path, run_json: dict[str, Any]) -> bool:
    """Render plots, page and card; the results are written by now, so an error here costs pictures and not the run."""
    from bertlab.report.render import render

    try:
        render(RunFolder.read(folder, run_json))
    except Exception as error:
        warning(f"the report could not be rendered ({error}); `python -m bertlab report {folder}` tries again.")
        return False
    return True


def write_results(run: Run) -> dict[str, Any]:
    """Write scores, predictions and misclassified examples; return the content of results.json."""
    fitted = _fitted(run)
    evaluated = [with_fitted(r, run.data.schema, fitted, run.data.metrics) for r in run.results]
    results: dict[str, Any] = io.plain(_results(run, evaluated, fitted))
    for result in (result for result in evaluated if result.has_predictions):
        rows = _rows(run, result.name)
        predictions.write(run.folder, result, run.data.schema, rows["idx"], fitted.temperature)
        if result.labels is not None:
            misclassified.write(run.folder, result, run.data.schema, rows, fitted.temperature)
    io.write_json(run.folder / "results.json", results)
    _write_metrics(run, evaluated)
    return results


def _fitted(run: Run) -> Fitted:
    """Return what is fitted on the selection split; without training, what the run of the model has fitted."""
    if run.selection or run.train_metrics:
        return fit(next(iter(run.selection), None), run.data.schema, run.run_args.threshold)
    model = str(run.invocation.settings.get("model_name_or_path", ""))
    folder = Path(resolve(model))
    if run.invocation.settings.get("new_head") or not (folder / "run.json").is_file():
        return Fitted()
    results = RunFolder.read(folder).results
    # An earlier version wrote fewer of them.
    temperature, limits = results.get("temperature") or 1.0, results.get("thresholds")
    rows = (results.get("selection") or {}).get("rows")
    is_same = tuple(results["class_names"]) == run.data.schema.class_names
    if not rows or not is_same or (temperature == 1.0 and not limits):
        return Fitted()
    info(f"{model} was saved with a temperature{' and thresholds' if limits else ''}, which are used.")
    return Fitted(temperature, np.array(limits) if limits else None, rows, results.get("threshold"))


def print_scores(results: dict[str, Any], folder: Path, source: str = "source") -> None:
    """Print the table of scores, the verdicts, and what else there is to know about each split."""
    header, rows = scores.score_table(results)
    metric = results["metrics"][0]
    shown = scores.metric_name(results, metric)
    if rows:
        say(f"\n{table(rows, header)}")
        if results["published"]["values"] and results["published"]["source"]:
            say(f"published: {results['published']['source']}")
        say(f"\n{shown} on {scores.main_split(results)}:")
    for sentence in (*scores.verdicts(results), *scores.groups(results), *scores.thresholds(results)):
        say(f"- {sentence}")
    for name, split in results["splits"].items():
        path = folder / "predictions" / f"{name}.tsv"
        if not split["labelled"] and path.is_file():
            say(f"{name}: {split['rows']:,} predictions in {path}")
        if split.get("by_source") and len(split["by_source"]) <= SOURCES_PRINTED:
            parts = (f"{key} {scores.score(row[metric])} (n = {row['n']})" for key, row in split["by_source"].items())
            say(f"{name}, {shown} by {source}: {', '.join(parts)}")
        if split.get("other"):
            other = (f"{scores.display_name(key)} {scores.score(value)}" for key, value in split["other"].items())
            say(f"{name}: {', '.join(other)}")
        only = degenerate.only_class(split)
        if only is not None:
            warning(
                f"{name}: the model predicts one class only, {results['class_names'][only]!r} for all "
                f"{split['labelled']:,} examples. More epochs or another --learning_rate may help."
            )


def _baselines(run: Run) -> Baselines:
    """Return the baselines' predictions for every labelled split; without training rows there are none."""
    train = run.data.train
    labelled = [result.name for result in run.results if result.labels is not None]
    if run.baselines is not None or train is None or not labelled:
        return run.baselines or {}
    rows = run.data.splits[train]
    return baseline_predictions(
        lambda chosen: _joinable(run.data.read(rows.select(chosen)[:])),
        np.asarray(run.tokenized[train]["labels"][:]),
        {name: _joinable(run.data.texts(name)) for name in labelled},
        run.data.schema,
    )


def _results(run: Run, results: Sequence[SplitResult], fitted: Fitted) -> dict[str, Any]:
    options, baselines = run.run_args, _baselines(run)
    splits = {}
    for result in results:
        tokenized = run.tokenized[result.name]
        entry = split_results(
            result,
            run.data.schema,
            run.data.metrics,
            fitted,
            baselines,
            tokenized["source"][:] if "source" in tokenized.column_names else None,
            options.metric_batch_size if result.name in run.data.test else None,
        )
        splits[result.name] = {"role": "validation" if result.name in run.data.validation else "test", **entry}
    selection = next(iter(run.selection), None)
    return {
        "recipe": run.invocation.recipe,
        "problem_type": run.data.schema.kind,
        "class_names": run.data.schema.class_names,
        "positive_class": run.data.schema.positive_class,
        "metrics": run.data.metrics,
        "temperature": fitted.temperature,
        "thresholds": fitted.thresholds,
        "threshold": fitted.threshold,
        # For sweeps, which choose a run by it; never a score to report.
        "selection": None if selection is None else {"rows": len(selection.logits), "metrics": selection.metrics},
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
    by_role: dict[str, dict[str, Any]] = {"train": run.train_metrics} if run.train_metrics else {}
    for result in results:
        role = result.prefix.split("_")[0]
        keys = {f"{result.prefix}_{name}": value for name, value in result.metrics.items()}
        by_role.setdefault(role, {}).update({**keys, f"{result.prefix}_samples": len(result.logits)})
    for role, metrics in by_role.items():
        io.write_json(run.folder / f"{role}_results.json", metrics)
    io.write_json(run.folder / "all_results.json", {k: v for metrics in by_role.values() for k, v in metrics.items()})


def _on_the_hub(run: Run) -> dict[str, Any]:
    """Return what of a run is on the Hub: repository, base model and data set, and what the cards of these two say."""
    settings = run.invocation.settings
    model = None if settings.get("from_scratch") else settings.get("model_name_or_path")
    dataset = None if any(settings.get(name) for name in (*FILES, "data_dir")) else settings.get("dataset_name")
    names = {kind: None if hub.is_local(n) else n for kind, n in (("model", model), ("dataset", dataset))}
    return {"repository": run.repository, **names, **(hub.card_metadata(**names) if run.repository else {})}


def _provenance(run: Run) -> dict[str, Any]:
    return {
        "command": provenance.command(run.invocation.argv),
        "recipe": run.invocation.recipe,
        "configuration": run.invocation.settings,
        "eval_split": run.data.eval_split,
        "hub": _on_the_hub(run),
        "pairs": any(len(run.data.read(split[:1])) > 1 for split in run.data.splits.values()),
        "seed": run.invocation.settings.get("seed", 42),
        "plan": run.plan.__dict__,
        "data": {
            name: {
                **summary,
                "from": Path(run.data.origin[name]).name,
                "fingerprint": provenance.fingerprint(run.data.splits[name], run.data.read),
                "dropped": run.data.dropped.get(name, 0),
            }
            for name, summary in run.summaries.items()
        },
        "streamed_from": run.data.stream and Path(run.data.stream.origin).name,
        "versions": provenance.versions(),
        "code": provenance.commit(),
        "machine": provenance.machine(),
        "peak_memory_mb": memory.peak_memory_mb(),
        "seconds": {
            "whole_run": time.time() - run.invocation.started,
            "training": run.train_metrics.get("train_runtime"),
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
