"""Training rows read as they are needed: for data that has no length, or more of it than the disk should hold twice.

The rows come in the order of their file, and again from the start when it ends; --max_steps says when to stop.
Evaluation splits are read whole, as without it. Shuffling, batches and tokenization are `training.streaming`'s.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bertlab.cli.arguments import DataArguments
from bertlab.data import labels
from bertlab.data.label_text import is_dropped
from bertlab.data.labels import LabelSchema
from bertlab.data.sources import Rows, row_place
from bertlab.errors import UserError


@dataclass(frozen=True)
class Stream:
    """Raw training rows that can be read again from the start, in the form of `columns`, and their label schema.

    `place` is what messages call them.
    """

    rows: Rows
    origin: str
    place: str
    schema: LabelSchema
    arguments: DataArguments

    def pass_over(self) -> Iterator[dict[str, Any]]:
        """Yield every row once: its text, or two, and the number, id or vector it is trained on.

        Raises:
            UserError: a row lacks text or label, its label is not in the schema, or there is no row.
        """
        is_empty = True
        for row in itertools.islice(self._complete_rows(), self.arguments.max_train_samples):
            is_empty = False
            yield row
        if is_empty:
            raise UserError(f"{self.place}: no row has both text and label.", "Check the column names.")

    def _complete_rows(self) -> Iterator[dict[str, Any]]:
        for row in self.rows():
            texts: dict[str, Any] = {name: row[name] for name in ("text", "text_pair") if name in row}
            if is_dropped(row["label"], self.schema.dropped, self.schema.delimiter):
                continue
            no_text, no_label = None in texts.values(), row["label"] is None
            if not no_text and not no_label:
                where = labels.place(self.place, row["line"], row["idx"])
                yield {**texts, "labels": self.schema.value(row["label"], where)}
            elif self.arguments.on_missing == "error":
                what = "text" if no_text else "label"
                where = row_place(self.place, row)
                raise UserError(f"{where}: the {what} is missing.", "Pass --on_missing drop to leave such rows out.")
