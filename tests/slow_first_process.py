"""run_nsp.py with a slow tokenizer and impatient collectives, and a list of what each process reads and makes.

The list goes to the file that BERTLAB_WORK_DONE names. `main` changes modules, so it is for a process of its own.
"""

import functools
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed

import run_nsp
from bertlab.cli import parser
from bertlab.data import tokenization
from bertlab.pretraining import pairs, sentences

PATIENCE = 20.0  # seconds; more than processes that start together are apart on a busy machine


def _listed(work: Callable[..., Any], seconds: float = 0) -> Callable[..., Any]:
    """Return a function that writes its name down, takes that much longer the first time, and does its work."""
    left = [seconds]

    @functools.wraps(work)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with Path(os.environ["BERTLAB_WORK_DONE"]).open("a", encoding="utf-8") as file:
            file.write(f"{work.__name__}\n")
        time.sleep(left.pop() if left else 0)
        return work(*args, **kwargs)

    return wrapper


def _all_parsed(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Return `parse`, which comes back when every process has parsed: what one writes from then on is new to all.

    A process that began only after another had written would write again, as --overwrite_cache tells it.
    """
    work_done = Path(os.environ["BERTLAB_WORK_DONE"])

    @functools.wraps(parse)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parsed = parse(*args, **kwargs)
        with work_done.open("a", encoding="utf-8") as file:
            file.write("parse\n")
        while work_done.read_text(encoding="utf-8").split().count("parse") < int(os.environ["WORLD_SIZE"]):
            time.sleep(0.01)
        return parsed

    return wrapper


def main(argv: list[str]) -> int:
    """Run the script and return its exit status."""
    torch.set_num_threads(1)  # more threads than cores wait for each other longer than a collective does
    parser.parse = _all_parsed(parser.parse)
    tokenization._arrow_columns = _listed(tokenization._arrow_columns, PATIENCE + 1)
    sentences.write_sentences = _listed(sentences.write_sentences)
    pairs.make_pairs = _listed(pairs.make_pairs)
    torch.distributed.init_process_group = functools.partial(
        torch.distributed.init_process_group, timeout=timedelta(seconds=PATIENCE)
    )
    return run_nsp.main(argv)
