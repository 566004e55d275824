"""The predictor of a run, of any model, or of a run exported as ONNX."""

from dataclasses import replace

from bertlab.cli.arguments import ModelArguments
from bertlab.data.labels import SINGLE
from bertlab.errors import UserError
from bertlab.inference import onnx_predictor
from bertlab.inference.predictor import Predictor
from bertlab.models import loading
from bertlab.training import memory


def load_predictor(
    arguments: ModelArguments, max_seq_length: int | None = None, abstain_below: float = 0.0
) -> Predictor:
    """Return the predictor of a run's folder, of any model on disk or on the Hub, or of an ONNX export.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, or has too few positions; or it is to abstain and
            does not predict one class a row, or below what is no probability.
    """
    if not 0 <= abstain_below <= 1:
        raise UserError(f"abstain_below {abstain_below:g}: it is a probability.", "Pass a number from 0 to 1.")
    predictor = _load(arguments, max_seq_length)
    if abstain_below and predictor.config.problem_type != SINGLE:
        raise UserError(
            f"abstain_below is for one class a row, and {arguments.model_name_or_path} is a model for "
            f"{predictor.config.problem_type}.",
            "Leave it out.",
        )
    return replace(predictor, abstain_below=abstain_below)


def _load(arguments: ModelArguments, max_seq_length: int | None) -> Predictor:
    name = arguments.model_name_or_path or ""
    if onnx_predictor.is_exported(name):
        return onnx_predictor.load_onnx_predictor(name, max_seq_length)
    loading.check_exists(arguments, flag="")
    memory.ask_for_large_pages()
    from bertlab.inference import torch_predictor  # imports torch, which takes seconds

    return torch_predictor.load_torch_predictor(arguments, max_seq_length)
