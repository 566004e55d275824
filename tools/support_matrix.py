"""`python -m tools.support_matrix`: what works with each architecture, tried with tiny models.

It writes results/architectures.json (the ONNX column needs requirements-onnx.txt), and docs/models.md from that;
`python -m tools.support_matrix page` writes the page alone.
"""

import csv
import functools
import io
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, BertTokenizer

import run_classification
from bertlab import ROOT, console
from bertlab.cli.arguments import ModelArguments
from bertlab.commands.export import NEEDED, TOLERANCE
from bertlab.data import tokenization
from bertlab.data.labels import SINGLE, LabelSchema
from bertlab.errors import UserError
from bertlab.inference import onnx_export, onnx_predictor
from bertlab.inference.torch_predictor import TorchPredictor, load_torch_predictor
from bertlab.io import read_json, write_json, write_text
from bertlab.models import loading, parts
from bertlab.report import provenance
from bertlab.training import preflight
from bertlab.training.collators import PaddingCollator
from bertlab.training.loss import ExactLoss
from tests.architectures import ARCHITECTURES, tiny_config

PAGE, RECORD = ROOT / "docs" / "models.md", ROOT / "results" / "architectures.json"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("a", "bad", "book", "boy", "dog", "film", "girl", "good", "reads", "sings", "the", "was")
TOKENS = tuple(dict.fromkeys((*SPECIAL, *WORDS, *ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase))))
# Of 2 to 24 words, so that most of a batch is padded.
ROWS = tuple((" ".join(WORDS[(row + n) % len(WORDS)] for n in range(2 + 2 * row)), WORDS[row % 2]) for row in range(12))
STEP = (
    *("--max_steps", "1", "--save_strategy", "no", "--per_device_train_batch_size", "8", "--max_seq_length", "32"),
    *("--precision", "fp32", "--use_cpu", "true", "--disable_tqdm", "true"),
)
COLUMNS = ("trains", "pairs", "bf16", "layer-wise decay", "re-initialization", "LoRA", "ONNX")
INTRODUCTION = """# Supported models

Which of {count} architectures can be trained, on single texts and on pairs, and with which features. For "no", the
reason is [below](#reasons); `--precision auto` takes fp32 where bf16 is "no". Other encoders that
`AutoModelForSequenceClassification` can load may work as well; one that does not is refused before training begins.

How it was tested: with a random model of two layers of each architecture, on a CPU, with transformers {transformers},
torch {torch}, peft {peft} and onnxruntime {onnxruntime}.

| column | "yes" means |
| --- | --- |
| trains | a step of training, evaluation, saving; loaded again the model predicts the same, for many texts and one |
| pairs, bf16 | the loss of two examples is finite, and its gradients can be computed |
| layer-wise decay, re-initialization, LoRA | so with `--layerwise_lr_decay`, `--reinit_layers`, `--lora_rank` |
| ONNX | the trained model is exported, and its logits are PyTorch's, in batches of one and many texts, short and long |

`python -m tools.support_matrix` writes `results/architectures.json`, and this page from it. The tests try every cell
again (`tests/end_to_end/test_architectures.py`), those of ONNX where it is installed.

"""


def write_model(architecture: str, folder: Path) -> Path:
    """Write a random encoder without a head, with a BERT tokenizer of a few words, and return its folder."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    # XLNet's head reads the last token, so its own tokenizer pads on the left.
    side = "left" if architecture == "xlnet" else "right"
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64, padding_side=side)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(tiny_config(architecture, len(TOKENS))).save_pretrained(folder)
    return folder


def features(model: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """Return for each column what tries it with a model, and raises where it does not work."""
    run = functools.cache(lambda: _trained(model, folder))
    step = functools.partial(_step, model)
    of_pairs = functools.cache(lambda: step(pairs=True))
    return {
        "trains": lambda: _refuse_other_predictions(run()),
        "pairs": of_pairs,
        "bf16": lambda: step(precision="bf16"),
        "layer-wise decay": lambda: parts.layer_depths(of_pairs(), "--layerwise_lr_decay"),
        "re-initialization": lambda: step(reinit_layers=1),
        "LoRA": lambda: step(lora_rank=2),
        "ONNX": lambda: _export(run(), folder / "onnx"),
    }


def _step(model: Path, precision: str = "fp32", pairs: bool = False, **settings: Any) -> Any:
    """Return a model that has computed the loss and gradients of two examples, one of them padded."""
    arguments = ModelArguments(model_name_or_path=str(model), **settings)
    config, tokenizer = loading.load_config_and_tokenizer(arguments)
    classifier = loading.build_classifier(arguments, config, LabelSchema(SINGLE, ("x", "y"), {}), tokenizer)
    inputs = tokenization.tokenize_texts([[ROWS[4][0], ROWS[2][0]]] * (1 + pairs), tokenizer, 32)
    rows = [{**{name: values[row] for name, values in inputs.items()}, "labels": row} for row in range(2)]
    batch = PaddingCollator(tokenizer, 32)(rows)
    problem = preflight._failure(classifier, batch, ExactLoss(SINGLE), precision)
    if problem:
        raise UserError(problem)
    return classifier


def _trained(model: Path, folder: Path) -> Path:
    """Return the folder of a run of one step."""
    data, run = folder / "rows.csv", folder / "run"
    with data.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *ROWS])
    files = ("--train_file", data, "--validation_file", data, "--model_name_or_path", model, "--output_dir", run)
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        status = run_classification.main([*map(str, files), *STEP])
    if status:
        raise UserError(said.getvalue().splitlines()[-1])
    return run


def _loaded(run: Path) -> TorchPredictor:
    with redirect_stderr(io.StringIO()):
        predictor = load_torch_predictor(ModelArguments(model_name_or_path=str(run)))
    predictor.model.to("cpu")
    return predictor


def _refuse_other_predictions(run: Path) -> None:
    """Refuse a loaded model whose probabilities are not the run's own, or depend on the other rows of a batch."""
    predictor, texts = _loaded(run), [(text,) for text, _ in ROWS]
    names = [f"probability_{name}" for name in predictor.config.class_names]
    with (run / "predictions" / "validation.tsv").open(encoding="utf-8", newline="") as stream:
        evaluated = [[float(row[name]) for name in names] for row in csv.DictReader(stream, delimiter="\t")]
    alone = np.concatenate([predictor([text]) for text in texts])
    for other, problem in ((evaluated, "the run's own"), (alone, "those of a text alone")):
        if not np.allclose(predictor(texts), other, atol=1e-4):
            raise UserError(f"the predictions of the loaded model are not {problem}")


def _export(run: Path, folder: Path) -> None:
    """Refuse a model whose exported logits are not PyTorch's."""
    folder.mkdir()
    predictor = _loaded(run)
    onnx_export.export_onnx(predictor, folder)
    exported = onnx_predictor.load_onnx_predictor(str(folder))
    difference = onnx_export.largest_difference(predictor, exported, predictor.tokenize([(text,) for text, _ in ROWS]))
    if not difference <= TOLERANCE:
        raise UserError(f"the exported logits differ from PyTorch's by up to {difference:.2g}")


def answers(architecture: str, columns: Iterable[str] = COLUMNS) -> dict[str, str]:
    """Return for each column "yes", or "no" with the reason."""
    with tempfile.TemporaryDirectory() as name:
        tried = features(write_model(architecture, Path(name, "model")), Path(name))
        return {column: _answer(tried[column]) for column in columns}


def _answer(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Exception as error:  # whatever a model's code raises
        problem = error.problem if isinstance(error, UserError) else str(error) or type(error).__name__
        return f"no: {problem.splitlines()[0].split('. ')[0].rstrip('.')}"
    return "yes"


def page(record: Mapping[str, Any]) -> str:
    """Return docs/models.md from the record."""
    rows, reasons = record["architectures"], []
    for architecture, cells in rows.items():
        reasons += [f"- {architecture}, {column}: {cell[4:]}" for column, cell in cells.items() if cell != "yes"]
    shown = [[name, *(cells[column].split(":")[0] for column in COLUMNS)] for name, cells in rows.items()]
    table = console.markdown(("architecture", *COLUMNS), shown)
    introduction = INTRODUCTION.format(count=len(rows), **record["versions"])
    return introduction + table + "\n\n## Reasons\n\n" + "\n".join(reasons) + "\n"


def main(argv: Sequence[str]) -> int:
    """Write the record, of all architectures or of those named, and the page."""
    if list(argv) != ["page"]:
        versions = {**provenance.versions(), **{name: version(name) for name in NEEDED}}
        found = {name: answers(name) for name in argv or ARCHITECTURES}
        write_json(RECORD, {"versions": versions, "architectures": found})
    write_text(PAGE, page(read_json(RECORD)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
