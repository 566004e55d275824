"""A model in PyTorch written as ONNX, in float32 or with int8 weights, and compared with what it was made from."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from bertlab.data.input_length import longest_input
from bertlab.errors import UserError, first_line
from bertlab.inference.onnx_predictor import MODEL
from bertlab.inference.predictor import Predictor, token_batches
from bertlab.inference.torch_predictor import TorchPredictor, class_logits
from bertlab.io import write_text
from bertlab.models.loading import USUAL_POSITIONS

TEMPLATE = Path(__file__).with_name("onnx_readme.md.j2")
# Traced with these, of different lengths; no size of theirs is kept.
EXAMPLES = (
    ("Yes.",),
    ("The book was on the table.",),
    ("She asked me whether, in the end, anybody had ever found out who it was that wrote the letters.",),
)
RAGGED_ROWS = 8


class ClassLogits(torch.nn.Module):
    """A model whose only output is the class logits (rows, outputs), whatever heads it has."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the class logits of a padded batch."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return class_logits(self.model(**{name: value for name, value in inputs.items() if value is not None}))


def export_onnx(predictor: TorchPredictor, folder: Path) -> None:
    """Write a model on the CPU into a folder as ONNX in float32, with its tokenizer and configuration.

    Inputs are int64 (batch, sequence) of any size, the output is `logits` (batch, outputs). The file's metadata are
    the predictor's config.

    Raises:
        UserError: PyTorch cannot export this architecture.
    """
    batch = {name: torch.from_numpy(values) for name, values in predictor.pad(predictor.tokenize(EXAMPLES)).items()}
    longest = longest_input(predictor.tokenizer, predictor.model.config, default=USUAL_POSITIONS)
    longest = max(longest, predictor.config.max_seq_length or 0)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=longest)}
    try:
        with _quiet():
            program = torch.onnx.export(
                ClassLogits(predictor.model).eval(),
                kwargs=batch,
                dynamic_shapes=dict.fromkeys(batch, sizes),
                input_names=list(batch),
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
            exported = cast(Any, program)
            exported.model.metadata_props.update(predictor.config.to_metadata())
            exported.save(folder / MODEL)
    except Exception as error:  # the exporter raises many types
        kind = predictor.model.config.model_type
        reason = first_line(error.__cause__ or error)  # the exporter's own message is how to mend PyTorch
        raise UserError(f"PyTorch cannot export {kind} as ONNX: {reason}.", "Use `predict`.") from error
    predictor.tokenizer.save_pretrained(folder)
    predictor.model.config.save_pretrained(folder)


def quantize_int8(folder: Path) -> None:
    """Replace an exported model by one with int8 weights, whose activations are quantised at run time (dynamic)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(folder / MODEL)
    # The exporter notes the shape of every weight; the quantiser transposes some and then trips over the note.
    del model.graph.value_info[:]
    for path in folder.glob(f"{MODEL}*"):  # above 2 GB the weights are in model.onnx.data
        path.unlink()
    with _quiet():
        # A scale per output changes fewer predictions than one per matrix.
        quantize_dynamic(model, folder / MODEL, weight_type=QuantType.QInt8, per_channel=True)


def write_readme(predictor: TorchPredictor, path: Path, name: str, quantize: str | None = None) -> None:
    """Write how an exported model is used from Python."""
    from jinja2 import Template

    template = Template(TEMPLATE.read_text(encoding="utf-8"), trim_blocks=True, keep_trailing_newline=True)
    write_text(path, template.render(name=name, model=MODEL, config=predictor.config, quantize=quantize))


def largest_difference(first: Predictor, second: Predictor, tokenized: Sequence[dict[str, Any]]) -> float:
    """Return the largest absolute difference of two models' logits, on rows from the shortest to the longest.

    Batches of one (the shortest and the longest row), one of very different lengths, and length-bucketed ones.
    """
    lengths = [len(row["input_ids"]) for row in tokenized]
    ragged = np.linspace(0, len(lengths) - 1, min(RAGGED_ROWS, len(lengths))).astype(int)
    batches = [[0], [-1], ragged.tolist(), *token_batches(lengths)]
    padded = [first.pad([tokenized[row] for row in batch]) for batch in batches]
    with first.inference_mode(), second.inference_mode():
        return max(float(np.abs(first.forward(batch) - second.forward(batch)).max()) for batch in padded)


def megabytes(folder: Path) -> float:
    """Return the size of an exported model with its weights."""
    return sum(path.stat().st_size for path in folder.glob(f"{MODEL}*")) / 1e6


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the remarks of the exporter and the quantiser on their own workings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
