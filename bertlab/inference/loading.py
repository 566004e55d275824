"""The predictor of a run, of any model, or of an exported one."""

import argparse
from typing import TYPE_CHECKING

from bertlab.inference.predictor import Predictor
from bertlab.training import memory

if TYPE_CHECKING:
    pass


def load_predictor(name: str, options: argparse.Namespace) -> Predictor:
    """Return the predictor of a run's folder, of any model on disk or on the Hub, or of a run exported as ONNX.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, or has too few positions.
    """
    from bertlab.inference import onnx_predictor

    if onnx_predictor.is_exported(name):
        return onnx_predictor.load(name, options.max_seq_length)
    memory.ask_for_large_pages()
    from bertlab.inference import torch_predictor  # imports torch, which takes seconds

    return torch_predictor.load(name, options)
