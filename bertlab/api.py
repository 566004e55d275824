"""What a notebook calls: `train` and `Predictor`, on the same path as the command line."""

import contextlib
import importlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from bertlab.cli import parser
from bertlab.cli.arguments import ModelArguments
from bertlab.cli.training_flags import training_flags
from bertlab.commands.predict_inputs import check_pairs, is_text
from bertlab.commands.run_specs import script_of
from bertlab.data.labels import REGRESSION
from bertlab.errors import UserError
from bertlab.inference.loading import load_predictor
from bertlab.report import scores
from bertlab.report.run_folder import RunFolder

# Flags with which the scripts print something and train nothing.
NO_RUN = ("help", "print_config", "print_parameters", "show_examples")
# A text or, for a model of pairs, two.
Text = str | tuple[str, str]
TAKES = "Predictor takes a list of texts, or a list of pairs"
GIVE_PAIRS, GIVE_TEXTS = 'Write predictor([("A first text.", "A second text.")]).', 'Write predictor(["A text."]).'


@dataclass(frozen=True)
class Run:
    """A finished run: the folder with its model and report, and the content of its results.json."""

    output_dir: Path
    results: dict[str, Any]

    @property
    def scores(self) -> pandas.DataFrame:
        """Every metric of every split with its 95% CI, the baselines and the published value."""
        header, rows = scores.score_table(self.results)
        return pandas.DataFrame(rows, columns=header)

    def __str__(self) -> str:
        return "\n".join([self.scores.to_string(index=False), *scores.verdicts(self.results)])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table of scores."""
        return str(self.scores.to_html(index=False, na_rep="–", border=0))


def train(**flags: Any) -> Run:
    """Train and evaluate as the scripts do, and return the finished run.

    The keywords are the scripts' flags: `train(task="cola", data_dir="glue_data/CoLA", learning_rate=1e-4)`. Lists
    and mappings are flags with several values. What run_nsp.py alone knows, such as `text`, makes it a run of that
    script.

    Raises:
        UserError: what the command line refuses.
    """
    if asked := [name for name in NO_RUN if flags.get(name)]:
        raise UserError(
            f"train({asked[0]}=…) would train nothing.", f"Leave it out, or pass --{asked[0]} to the script."
        )
    argv = list(_words(flags))
    script = script_of(argv)
    with contextlib.redirect_stderr(io.StringIO()):  # the script itself says what there is to say
        arguments = parser.parse(argv, script.groups, "", script.default_recipe)
    # Without the decorator of the command line, which turns errors into an exit status.
    importlib.import_module(Path(script.name).stem).main.__wrapped__(argv)
    folder = RunFolder.read(arguments.training["output_dir"])
    return Run(folder.path, folder.results)


class Predictor:
    """A trained model that labels texts: of a run, of any model of transformers, or of an ONNX export.

    A text whose class has a probability below `abstain_below` has an empty label.

    Raises:
        UserError: the model cannot be loaded, or is not a classifier.
    """

    def __init__(self, model: str | Path, max_seq_length: int | None = None, abstain_below: float = 0.0) -> None:
        self.model = str(model)
        self._predictor = load_predictor(ModelArguments(model_name_or_path=self.model), max_seq_length, abstain_below)

    def __call__(self, texts: Iterable[Text]) -> pandas.DataFrame:
        """Return a row for each text, or pair of texts: its label and the probability of each class, or its score.

        The rows have the index of a Series, so that they can be assigned beside it.

        Raises:
            UserError: pairs for a model of single texts, or the other way round; or what is no text.
        """
        rows, config = _rows(texts), self._predictor.config
        width = max(map(len, rows), default=2 if config.input_format.pairs else 1)
        check_pairs(width == 2, self.model, config.input_format, GIVE_PAIRS, GIVE_TEXTS)
        probabilities = self._predictor(rows)
        columns: dict[str, Any] = {
            name: [row[part] for row in rows] for part, name in enumerate(("text", "text_pair")[:width])
        }
        if config.problem_type == REGRESSION:
            columns["score"] = probabilities[:, 0]
        else:
            columns["label"] = self._predictor.labels(probabilities)
            columns |= {f"probability_{name}": probabilities[:, i] for i, name in enumerate(config.class_names)}
        return pandas.DataFrame(columns, index=texts.index if isinstance(texts, pandas.Series) else None)


def _rows(texts: Iterable[Text]) -> list[tuple[str, ...]]:
    """Return texts or pairs as rows of one width.

    Raises:
        UserError: this is no list, or one of its rows is neither a text nor a pair; it says which.
    """
    if isinstance(texts, (pandas.DataFrame, Mapping)):
        raise UserError(
            f"{TAKES}, and this is a table.", 'Pass table["text"], or list(zip(table["first"], table["second"])).'
        )
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise UserError(f"{TAKES}, and this is {texts!r:.60}.", GIVE_TEXTS)
    rows = [tuple(text) if isinstance(text, (tuple, list, np.ndarray)) else (text,) for text in texts]
    for place, row in enumerate(rows):
        if len(row) not in (1, 2) or len(row) != len(rows[0]):
            raise UserError(
                f"{TAKES}, and row {place} has {len(row)} texts.", "Give every row one text, or every row two."
            )
        for text in row:
            if not is_text(text):
                hint = 'Where there is no text, write "": its prediction is empty.'
                raise UserError(f"{TAKES}, and row {place} holds {text!a:.60}.", hint)
    return rows


def _words(flags: Mapping[str, Any]) -> Iterator[str]:
    """Yield the command line that says the same as these keywords; None leaves a flag out.

    Raises:
        UserError: a value is none of a flag, such as a table.
    """
    objects = {flag.name for flag in training_flags() if flag.is_json}
    for name, value in flags.items():
        if value is None:
            continue
        yield f"--{name}"
        if isinstance(value, Mapping) and name in objects:
            yield json.dumps(value, default=partial(_in_json, name))
        elif isinstance(value, Mapping):
            yield from (f"{key}={_word(name, item)}" for key, item in value.items())
        else:
            yield from (_word(name, item) for item in (value if isinstance(value, (list, tuple)) else [value]))


def _in_json(name: str, value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else _word(name, value)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, (str, int, float, Path, np.generic)):
        raise UserError(
            f"train({name}=…) is {type(value).__name__}, which no flag takes.",
            "Give a text, a number, a path, or a list of these; write a table to a file, and name that.",
        )
    return str(value).lower() if isinstance(value, bool) else str(value)
