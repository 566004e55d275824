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
# Flags that --train_sizes sets, or that leave nothing to take a sample of.
REFUSED = {
    "max_train_samples": "Write the numbers of rows after --train_sizes.",
    "shuffle_train_dataset": "Leave it out: the samples are random.",
    "streaming": "Leave it out: a stream is read once, and has no random sample.",
}


def samples(sizes: Sequence[str], *, nsp: bool) -> Iterator[tuple[list[str], str]]:
    """Yield the flags of each sample of the training rows and its folder; without sizes those of all rows.

    Next-sentence prediction takes a random sample of its pairs by itself.

    Raises:
        UserError: a size is no number of rows.
    """
    if not sizes:
        yield [], ""
    for size in dict.fromkeys(sizes):
        if size != ALL and not (size.isdecimal() and int(size)):
            raise UserError(f"--train_sizes: {size!r} is no number of rows.", "Write numbers, and all for every row.")
        flags = [] if size == ALL else ["--max_train_samples", size]
        yield [*flags, *(["--shuffle_train_dataset", "true"] if flags and not nsp else [])], f"train{size}"


def write(folder: Path, table: Sequence[Row], finished: Mapping[str, Sequence[RunFolder]]) -> None:
    """Write learning_curve.png, the first score of each recipe by training rows, and print what more rows brought."""
    curves: dict[str, list[tuple[int, Row]]] = {}
    for name, runs in finished.items():
        row = next((row for row in table if row.recipe == name), None)
        if row is not None and row.n:
            train = runs[0].data[runs[0].configuration.get("train_split_name", "train")]
            curves.setdefault(name.rpartition("/")[0], []).append((int(train["rows"]), row))
    if not curves:
        return
    from bertlab.report import plots

    curves = {name: sorted(curve, key=lambda point: point[0]) for name, curve in curves.items()}
    points = {name: [(rows, row.mean, row.low, row.high) for rows, row in curve] for name, curve in curves.items()}
    metrics = {name: curve[0][1].metric for name, curve in curves.items()}
    write_bytes(folder / PICTURE, plots.learning_curve(points, metrics))
    for name, curve in curves.items():
        if len(curve) > 1 and curve[-1][0] > curve[-2][0]:
            (fewer, before), (more, after) = curve[-2:]
            gain = after.mean - before.mean
            say(
                f"{name}: {fewer:,} to {more:,} training rows changed {metrics[name]} by {gain:+.3f}, "
                f"{gain / math.log2(more / fewer):+.3f} for each doubling."
            )
    say(f"The learning curve is in {folder / PICTURE}\n")
