"""The scores of results.json for people: names, the table of scores, and the verdicts on the primary metric."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from bertlab.data.labels import REGRESSION, SINGLE
from bertlab.evaluation.metrics import GREATER_IS_BETTER, METRICS, split_average
from bertlab.evaluation.statistics import BETTER, EQUAL, WORSE, verdict

# Names that are not their keys without underscores.
NAMES = {
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearmanr": "Spearman correlation",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
    "roc_auc": "ROC AUC",
    "brier_score": "Brier score",
    "cohen_kappa": "Cohen's kappa",
    "majority": "majority class",
    "mean": "mean of the training labels",
    "tfidf": "TF-IDF + logistic regression",
    "before_training": "before training",
    "zero_shot": "zero-shot",
    "first_alone": "first segment alone",
    "second_alone": "second segment alone",
    "mrr": "MRR of the true next among ten",
    "mrr_chance": "MRR by chance",
    "recall_at_1": "recall@1",
    "recall_at_1_chance": "recall@1 by chance",
}

# More thresholds than this are in results.json alone.
THRESHOLDS_LISTED = 6

Results = Mapping[str, Any]


def display_name(key: str) -> str:
    """Return the name of a metric or baseline for people."""
    base, average = split_average(key)
    name = NAMES.get(base, base.upper() if re.fullmatch(r"f[\d.]+", base) else base.replace("_", " "))
    return f"{name} by example" if average == "samples" else f"{average} {name}".strip()


def positive_class(results: Results) -> str | None:
    """Return the class of two that F1, precision and recall are of; where older runs do not say so, the second."""
    names = list(results.get("class_names") or [])
    binary = results.get("problem_type") == SINGLE and len(names) == 2
    return (results.get("positive_class") or names[1]) if binary else None


def metric_name(results: Results, metric: str) -> str:
    """Return the name of a metric for people: F1, precision and recall with the class, or the average, they are of."""
    if metric not in METRICS or not METRICS[metric].two_classes:
        return display_name(metric)
    positive = positive_class(results)
    return f"{display_name(metric)} {'(micro)' if positive is None else f'of class {positive!r}'}"


def baseline_name(key: str, metric: str) -> str:
    """Return the name of a baseline for people; the linear model on TF-IDF features depends on the kind of metric."""
    regression = metric in METRICS and REGRESSION in METRICS[metric].problem_types
    return "TF-IDF + ridge regression" if key == "tfidf" and regression else display_name(key)


def is_number(value: Any) -> TypeGuard[float]:
    """Return True for a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def score(value: Any, digits: int = 3) -> str:
    """Return a score, or a count, for people; a dash where there is none."""
    if not is_number(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def scored_splits(results: Results) -> dict[str, Any]:
    """Return the splits that have scores, in order."""
    return {name: split for name, split in results["splits"].items() if split.get("metrics")}


def main_split(results: Results) -> str | None:
    """Return the scored split the run is judged by: that of the published value, or the first; None without any."""
    scored, published = scored_splits(results), (results.get("published") or {}).get("split")
    return published if published in scored else next(iter(scored), None)


def published_value(results: Results, split: str, metric: str) -> float | None:
    """Return the published value of a metric on a split, or None."""
    published = results.get("published") or {}
    return (published.get("values") or {}).get(metric) if published.get("split") == split else None


def interval(score: Mapping[str, Any]) -> str | None:
    """Return the 95% CI of a score as text, or None."""
    low, high = score["low"], score["high"]
    return f"{low:.4f} to {high:.4f}" if is_number(low) and is_number(high) else None


def score_table(results: Results) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows: every metric of every split with its 95% CI, baselines and published value."""
    scored = scored_splits(results)
    baselines = list(dict.fromkeys(name for split in scored.values() for name in split["baselines"]))
    has_published = bool((results.get("published") or {}).get("values"))
    names = [baseline_name(name, results["metrics"][0]) for name in baselines]
    header = ["split", "metric", "score", "95% CI", "n", *names, *(["published"] if has_published else [])]
    rows: list[list[Any]] = []
    for name, split in scored.items():
        for metric, score in split["metrics"].items():
            rows.append([name, metric_name(results, metric), score["value"], interval(score), _size(split, score)])
            rows[-1] += [split["baselines"].get(b, {}).get("metrics", {}).get(metric) for b in baselines]
            rows[-1] += [published_value(results, name, metric)] if has_published else []
    return header, rows


class Standing(NamedTuple):
    """Where the primary metric on the main split stands: above, level, below or unknown, and in words."""

    kind: str
    words: str


def standing(results: Results) -> Standing:
    """Return how the model stands to its baselines, by the one against which it does worst."""
    by_relation = {relation: name for name, relation, _ in reversed(_baselines(results))}
    for relation, kind in ((WORSE, "below"), (EQUAL, "level")):
        if relation in by_relation:
            return Standing(kind, f"{relation} the baseline “{by_relation[relation]}”")
    if BETTER in by_relation:
        return Standing("above", f"{BETTER} every baseline")
    return Standing("unknown", "not compared with a baseline")


def groups(results: Results) -> list[str]:
    """Return what is resampled in place of rows, and how much wider that makes the interval of the primary metric."""
    lines = []
    for name, split in results["splits"].items():
        if found := split.get("groups"):
            metric = metric_name(results, results["metrics"][0])
            wider = f": the interval of {metric} is {found['wider']:.2f} times as wide" if found["wider"] else ""
            rows = f"{found['count']:,} groups of rows that share {found['shared']}"
            lines.append(f"{name}: {rows} are resampled, not rows{wider}.")
    return lines


def _size(split: Mapping[str, Any], score: Mapping[str, Any]) -> Any:
    """Return the number of examples, with that of their groups."""
    return f"{score['n']:,} ({split['groups']['count']:,} groups)" if split.get("groups") else score["n"]


def verdicts(results: Results) -> list[str]:
    """Return sentences that compare the primary metric on the main split with its baselines and the published value."""
    name = main_split(results)
    if name is None:
        return []
    split, metric = results["splits"][name], results["metrics"][0]
    ours, upward = split["metrics"][metric], GREATER_IS_BETTER.get(metric, True)
    if interval(ours) is None:
        return [
            f"Nothing is compared: {ours['n']:,} examples, too few or scored all alike, give no confidence interval."
        ]
    lines = [f"This model is {relation} the baseline “{b}” {rest}." for b, relation, rest in _baselines(results)]
    if not lines:
        lines.append("No baseline was scored: there were no training examples, or they were streamed.")
    value = published_value(results, name, metric)
    if is_number(value):
        source = f", {results['published']['source']}" if results["published"].get("source") else ""
        relation = verdict(ours["low"] - value, ours["high"] - value, upward)
        lines.append(
            f"This model is {relation} the published value ({value:.3f}{source}). Model, data and number of seeds may "
            "differ."
        )
    lines.append("The confidence interval covers the choice of examples, not of the seed: other seeds score otherwise.")
    return lines


def thresholds(results: Results) -> list[str]:
    """Return sentences on the fitted thresholds: what they are, and their score on the selection split."""
    found = results.get("threshold")
    if not found:
        return []
    on, by = f"fitted on {found['rows']:,} selection examples", display_name(found["scored_by"])
    if len(found["classes"]) > THRESHOLDS_LISTED:
        return [f"Thresholds of {len(found['classes'])} labels, {on} by {by}; results.json has them."]
    return [
        f"Threshold of {name!r}: {one['threshold']:.3f}, {on}: {by} is {one['score']:.3f} there, and "
        f"{one['score_at_half']:.3f} with a threshold of 0.5."
        for name, one in found["classes"].items()
    ]


def _baselines(results: Results) -> list[tuple[str, str, str]]:
    """Return each baseline's name, how the model compares with it by the paired bootstrap, and figures; best first."""
    name, found = main_split(results), []
    split = results["splits"][name] if name else {"baselines": {}}
    metric = results["metrics"][0]
    upward = GREATER_IS_BETTER.get(metric, True)

    def strength(key: str) -> float:
        value = split["baselines"][key]["metrics"][metric]
        return (value if upward else -value) if is_number(value) else -math.inf

    for key in sorted(split["baselines"], key=strength, reverse=True):
        baseline = split["baselines"][key]
        own, value = split["metrics"][metric]["value"], baseline["metrics"][metric]
        ends = baseline.get("difference", {}).get(metric, {})
        low, high = ends.get("low"), ends.get("high")
        if is_number(value):
            known = is_number(low) and is_number(high)
            shown = f": {own - value:+.3f}, 95% CI {low:+.3f} to {high:+.3f}" if known else ""
            relation = verdict(low, high, upward)
            found.append((baseline_name(key, metric), relation, f"({value:.3f}){shown}"))
    return found
