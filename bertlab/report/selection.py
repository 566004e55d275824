"""What was selected or fitted on the selection split, in sentences for the page and the card."""

from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import is_number, metric_name, score, thresholds


def notes(folder: RunFolder) -> list[str]:
    """Return sentences on the selected epoch, the scores on the selection split, the temperature and the thresholds."""
    lines = [_epoch(folder)] if folder.log else []
    selection = folder.results.get("selection") or {"metrics": {}}
    found = ((metric_name(folder.results, name), selection["metrics"].get(name)) for name in folder.metrics)
    values = ", ".join(f"{name} {score(value)}" for name, value in found if is_number(value))
    if values:
        lines.append(
            f"Scores on the selection split ({selection['rows']:,} examples): {values}. They are optimistic: choices "
            "were made by them."
        )
    if folder.class_names and not folder.fills_masks and folder.scored:
        lines.append(_temperature(folder))
    return [*lines, *thresholds(folder.results)]


def _epoch(folder: RunFolder) -> str:
    last = folder.log[-1]["epoch"]
    if folder.selected is None:
        return f"The weights are those of the end of training, after epoch {last:.4g}; no epoch was selected."
    key = str(folder.configuration.get("metric_for_best_model", folder.metrics[0])).removeprefix("eval_")
    value, step = score(folder.selected.get(f"eval_{key}")), folder.selected["step"]
    return (
        f"The weights are those of epoch {folder.selected['epoch']:.4g} of {last:.4g} (step {step:,}), selected by "
        f"{metric_name(folder.results, key)} on {folder.eval_split} ({value})."
    )


def _temperature(folder: RunFolder) -> str:
    calibration = next(iter(folder.scored.values())).get("calibration") or {}
    if calibration.get("fitted_on_rows"):
        return (
            f"Logits are divided by the temperature {score(calibration['temperature'])}, fitted on "
            f"{calibration['fitted_on_rows']:,} examples of the selection split."
        )
    why = "the selection split has too few examples" if folder.results.get("selection") else "no selection split"
    return f"Probabilities are not calibrated: {why}."
