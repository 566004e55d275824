"""Seconds of each stage of a fresh process, from its first line on: what the user waits for, part by part.

    python -m benchmarks.stages first_step FOLDER_OF_COLA
    python -m benchmarks.stages our_first_answer MODEL
    python -m benchmarks.stages first_answer_of_the_pipeline MODEL

Nothing is imported before the clock starts but Python's own modules. Prints one object of JSON as its last line.
"""

import json
import sys
import time
from collections.abc import Iterator

STARTED = time.perf_counter()


def first_step(folder: str) -> Iterator[str]:
    """Go from a cold start to one step of training."""
    from pathlib import Path

    from benchmarks import measure, peers

    yield "imports"
    one = peers.contender(measure.OURS, Path(folder), "--max_steps", "1")
    yield "data and model"
    one.trainer.train()
    yield "first step"


def our_first_answer(model: str) -> Iterator[str]:
    """Go from a cold start to the label of one text, as `python -m bertlab predict` does."""
    from bertlab.training import memory

    memory.ask_for_large_pages()
    yield from libraries()
    from bertlab.cli.arguments import ModelArguments
    from bertlab.commands import predict  # noqa: F401
    from bertlab.inference.loading import load_predictor

    yield "other imports"
    predictor = load_predictor(ModelArguments(model_name_or_path=model))
    yield "model"
    predictor([("Hello.",)])
    yield "answer"


def first_answer_of_the_pipeline(model: str) -> Iterator[str]:
    """Go from a cold start to the label of one text, as transformers.pipeline does."""
    yield from libraries()
    from transformers import pipeline

    yield "other imports"
    ready = pipeline("text-classification", model)
    yield "model"
    ready("Hello.")
    yield "answer"


def libraries() -> Iterator[str]:
    """Import what both need: torch, and transformers' BERT."""
    import torch  # noqa: F401

    yield "import of torch"
    import transformers.models.bert.modeling_bert  # noqa: F401

    yield "import of transformers' BERT"


STAGES = {one.__name__: one for one in (first_step, our_first_answer, first_answer_of_the_pipeline)}


def main() -> int:
    """Run one and print the seconds of its parts."""
    found, before = {}, STARTED
    for part in STAGES[sys.argv[1]](sys.argv[2]):
        now = time.perf_counter()
        found[part], before = now - before, now
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
