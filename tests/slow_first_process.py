"""run_nsp.py with a slow tokenizer and impatient collectives, and a list of what each process reads and makes.

The list goes to the file that BERTLAB_WORK_DONE names. Under a launcher: `… slow_first_process.py FLAGS`.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed

import run_nsp
from bertlab.data import tokenization
from bertlab.pretraining import pairs, sentences

PATIENCE = 20.0  # more than processes that start together are apart on a busy machine


def listed(work: Callable[..., Any], seconds: float = 0) -> Callable[..., Any]:
    """Return a function that writes its name down, takes that much longer, and does its work."""

    @functools.wraps(work)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with Path(os.environ["BERTLAB_WORK_DONE"]).open("a", encoding="utf-8") as file:
            file.write(f"{work.__name__}\n")
        time.sleep(seconds)
        return work(*args, **kwargs)

    return wrapper


tokenization._arrow_columns = listed(
    tokenization._arrow_columns, PATIENCE / 2 + 1
)  # once for train, once for validation
sentences.write_sentences = listed(sentences.write_sentences)
pairs.make_pairs = listed(pairs.make_pairs)
torch.distributed.init_process_group = functools.partial(
    torch.distributed.init_process_group, timeout=timedelta(seconds=PATIENCE)
)
sys.exit(run_nsp.main())
