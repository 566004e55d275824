"""The predictor of a run, of any model, or of a run exported as ONNX."""

from pathlib import Path

from bertlab import hub
from bertlab.cli.arguments import ModelArguments
from bertlab.inference import onnx_predictor
from bertlab.inference.predictor import Predictor
from bertlab.io import no_such_model
from bertlab.models import loading
from bertlab.training import memory


def load_predictor(arguments: ModelArguments, max_seq_length: int | None = None) -> Predictor:
    """Return the predictor of a run's folder, of any model on disk or on the Hub, or of an ONNX export.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, or has too few positions.
    """
    name = arguments.model_name_or_path or ""
    if onnx_predictor.is_exported(name):
        return onnx_predictor.load_onnx_predictor(name, max_seq_length)
    if hub.is_path(name) and not Path(loading.resolve(name)).exists():
        raise no_such_model(name)
    loading.check_exists(arguments)
    memory.ask_for_large_pages()
    from bertlab.inference import torch_predictor  # imports torch, which takes seconds

    return torch_predictor.load_torch_predictor(arguments, max_seq_length)
