"""Training rows that are read as they are needed, again from the start at each pass."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import DataArguments
from bertlab.data import labels
from bertlab.data.labels import REGRESSION, LabelSchema
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    pass


Rows = Callable[[], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Stream:
    """Raw training rows that can be read again from the start, in the form of `sources`, and their label space."""

    rows: Rows
    origin: str
    schema: LabelSchema
    arguments: DataArguments

    def pass_over(self) -> Iterator[dict[str, Any]]:
        """Yield every row once: its text, or two, and the number, id or vector it is trained on.

        Raises:
            UserError: a row lacks text or label, its label is unknown, or there is no row.
        """
        found = 0
        for row in itertools.islice(self.rows(), self.arguments.max_train_samples):
            place = labels.where(self.origin, row["line"]) if row["line"] else f"{self.origin}, row {row['idx'] + 1}"
            texts: dict[str, Any] = {name: row[name] for name in ("text", "text_pair") if name in row}
            missing = (
                "text"
                if None in texts.values()
                else "label"
                if labels.is_unknown(row.get("label"), self.schema)
                else None
            )
            if missing is None:
                found += 1
                yield {**texts, "labels": self._number(row["label"], place)}
            elif self.arguments.on_missing == "error":
                raise UserError(f"{place}: the {missing} is missing.", "Pass --on_missing drop to leave such rows out.")
        if not found:
            raise UserError(f"{self.origin}: no row has both text and label.", "Check the column names.")

    def _number(self, label: Any, place: str) -> Any:
        if self.schema.kind != REGRESSION:
            for one in label if isinstance(label, list) else [label]:
                if labels.resolve(one, self.schema) not in self.schema.class_names:
                    raise UserError(
                        f"{place}: the label {one!r} is not among {', '.join(self.schema.class_names[:8])}.",
                        did_you_mean(one, self.schema.class_names) + " --class_names and --label_map name labels.",
                    )
        return labels.to_number(label, self.schema, place)
