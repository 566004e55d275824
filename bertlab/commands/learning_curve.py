"""The learning curve of a suite: its samples of the training rows, what more of them bring, and its figure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bertlab.commands.suite_table import Row
from bertlab.console import say
from bertlab.errors import UserError
from bertlab.io import write_bytes
from bertlab.report.run_folder import RunFolder

ALL = "all"
PICTURE = "learning_curve.png"


def samples(sizes: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the flags of each sample of the training rows and its folder; without sizes those of all rows.

    Raises:
        UserError: a size is no number of rows.
    """
    if not sizes:
        yield [], ""
    for size in dict.fromkeys(sizes):
        if size != ALL and not (size.isdecimal() and int(size)):
            raise UserError(f"--train_sizes: {size!r} is no number of rows.", "Write numbers, and all for every row.")
        flags = [] if size == ALL else ["--max_train_samples", size, "--shuffle_train_dataset", "true"]
        yield flags, f"train{size}"


def write(folder: Path, table: Sequence[Row], finished: Mapping[str, Sequence[RunFolder]]) -> None:
    """Write learning_curve.png, the first score of each recipe by training rows, and print what more rows brought."""
    curves: dict[str, list[tuple[int, Row]]] = {}
    for name, runs in finished.items():
        row = next((row for row in table if row.recipe == name), None)
        if row is not None and row.n:
            rows = int(runs[0].data["train"]["rows"])
            curves.setdefault(name.rpartition("/")[0], []).append((rows, row))
    if not curves:
        return
    from bertlab.report import plots

    points = {
        name: [(rows, row.mean, row.low, row.high) for rows, row in sorted(curve, key=lambda point: point[0])]
        for name, curve in curves.items()
    }
    metric = next(iter(curves.values()))[0][1].metric
    write_bytes(folder / PICTURE, plots.learning_curve(points, metric))
    for name, curve in points.items():
        if len(curve) > 1 and curve[-1][0] > curve[-2][0]:
            (fewer, before, *_), (more, after, *_) = curve[-2:]
            doubling = (after - before) / math.log2(more / fewer)
            say(
                f"{name}: {fewer:,} to {more:,} training rows changed {metric} by {after - before:+.3f}, "
                f"{doubling:+.3f} for each doubling."
            )
    say(f"The learning curve is in {folder / PICTURE}\n")
