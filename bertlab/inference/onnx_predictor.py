"""A run exported as ONNX that labels texts: without torch, so that the first answer comes sooner."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.cli.arguments import ModelArguments
from bertlab.data import input_length
from bertlab.errors import UserError, first_line
from bertlab.inference.inference_config import InferenceConfig
from bertlab.inference.predictor import Predictor
from bertlab.models import loading

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class OnnxPredictor(Predictor):
    """A model in ONNX Runtime, on the processor."""

    session: "InferenceSession"

    def forward(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (rows, outputs), float32, of a padded batch."""
        inputs = {value.name: batch[value.name] for value in self.session.get_inputs()}
        return np.asarray(self.session.run(None, inputs)[0])


def is_exported(name: str) -> bool:
    """Return True for a folder that holds a model as ONNX and none for PyTorch."""
    folder = Path(loading.resolve(name))
    return (folder / MODEL).is_file() and not any(folder.glob("*.safetensors"))


def load_onnx_predictor(name: str, max_seq_length: int | None = None, threads: int = 0) -> OnnxPredictor:
    """Return the predictor of a folder that `python -m bertlab export` wrote; 0 threads are as many as there are cores.

    Raises:
        UserError: ONNX Runtime is not installed, cannot read the file, the file has no metadata of ours, or the model
            has too few positions.
    """
    folder = Path(loading.resolve(name))
    session = _open_session(folder / MODEL, threads)
    try:
        config = InferenceConfig.from_metadata(session.get_modelmeta().custom_metadata_map)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder / MODEL} does not say what its outputs mean.", "Make it with `python -m bertlab export RUN`."
        ) from error
    tokenizer = _load_tokenizer(folder)
    tokenizer.model_input_names = [value.name for value in session.get_inputs()]
    if max_seq_length is not None:
        model_config = loading.load_config(ModelArguments(model_name_or_path=str(folder)))
        input_length.check_max_length(max_seq_length, tokenizer, model_config)
        config = replace(config, max_seq_length=max_seq_length)
    return OnnxPredictor(tokenizer=tokenizer, config=config, session=session)


def _open_session(path: Path, threads: int) -> "InferenceSession":
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(f"{path} needs ONNX Runtime, which is not installed.", "pip install onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own types, which share no base but this
        raise UserError(f"{path} cannot be read: {first_line(error)}.", "Export the run again.") from error


def _load_tokenizer(folder: Path) -> Any:
    if not (folder / "tokenizer.json").is_file():
        return loading.load_tokenizer(ModelArguments(model_name_or_path=str(folder)))
    from transformers import PreTrainedTokenizerFast  # and not AutoTokenizer, which imports torch

    return PreTrainedTokenizerFast.from_pretrained(folder)
