"""From --text to the splits of a next-sentence run: documents, sentences, pairs, each document in one split only."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from bertlab import pairs, sentences
from bertlab.arguments import ModelArguments, NspArguments
from bertlab.console import say
from bertlab.data import SELECTION, Data
from bertlab.errors import UserError
from bertlab.files import file_digest
from bertlab.labels import NO_LABEL, SINGLE, LabelSpace

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# BERT's own order: id 0 says that the second segment follows the first.
CLASS_NAMES = ("IsNext", "NotNext")
METRICS = ("accuracy", "matthews_correlation", "f1_macro")
