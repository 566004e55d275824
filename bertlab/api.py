"""What a notebook calls: `train` and `Predictor`, on the same path as the command line."""

import contextlib
import importlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from bertlab.cli import parser
from bertlab.cli.arguments import ModelArguments
from bertlab.commands.predict_inputs import check_pairs
from bertlab.commands.run_specs import script_of
from bertlab.data.labels import REGRESSION
from bertlab.errors import UserError
from bertlab.inference.loading import load_predictor
from bertlab.report import scores
from bertlab.report.run_folder import RunFolder

# Flags with which the scripts print something and train nothing.
NO_RUN = ("print_config", "print_parameters", "show_examples")
# A text or, for a model of pairs, two.
Text = str | tuple[str, str]


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

    def __call__(self, texts: Sequence[Text]) -> pandas.DataFrame:
        """Return a row for each text, or pair of texts: its label and the probability of each class, or its score.

        Raises:
            UserError: pairs for a model of single texts, or the other way round; or what is no text.
        """
        rows = [tuple(text) if isinstance(text, (tuple, list)) else (text,) for text in texts]
        width = max(map(len, rows), default=1)
        are_texts = all(isinstance(text, str) for row in rows for text in row)
        if isinstance(texts, str) or not are_texts or any(len(row) != width for row in rows):
            raise UserError("Predictor takes a list of texts, or a list of pairs.", 'Write predictor(["A text."]).')
        config = self._predictor.config
        check_pairs(width == 2, self.model, config.input_format)
        probabilities = self._predictor(rows)
        columns = dict(zip(("text", "text_pair"), map(list, zip(*rows, strict=True)), strict=False))
        if config.problem_type == REGRESSION:
            return pandas.DataFrame({**columns, "score": probabilities[:, 0]})
        each = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(config.class_names)}
        return pandas.DataFrame({**columns, "label": self._predictor.labels(probabilities), **each})


def _words(flags: Mapping[str, Any]) -> Iterator[str]:
    """Yield the command line that says the same as these keywords; None leaves a flag out."""
    for name, value in flags.items():
        if value is None:
            continue
        yield f"--{name}"
        if isinstance(value, Mapping):
            yield from (f"{key}={item}" for key, item in value.items())
        elif isinstance(value, (list, tuple)):
            yield from map(str, value)
        else:
            yield str(value).lower() if isinstance(value, bool) else str(value)
