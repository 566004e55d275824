"""From logits to metrics, their confidence intervals, calibration and baselines."""
