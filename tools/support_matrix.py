"""`python -m tools.support_matrix`: docs/models.md, what works with each architecture, tried with tiny models."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bertlab import ROOT, console
from bertlab.errors import UserError
from bertlab.io import write_text

PAGE = ROOT / "docs" / "models.md"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("a", "bad", "book", "boy", "dog", "film", "girl", "good", "reads", "sings", "the", "was")
TOKENS = (*SPECIAL, *WORDS)
COLUMNS = ("trains", "pairs", "bf16", "layer-wise decay", "re-initialization", "LoRA")
INTRODUCTION = """# Supported models

Which of 43 architectures can be trained, on single texts and on pairs, and with which features. For "no", the reason is
[below](#reasons); `--precision auto` takes fp32 where bf16 is "no". Other encoders that
`AutoModelForSequenceClassification` can load may work as well; one that does not is refused before training begins.

How it was tested: a random model of each architecture, with two layers, computes the loss and gradients of two examples
on a CPU with each feature in turn (`python -m tools.support_matrix` writes this page). The tests train, evaluate, save,
load and predict with each of them.

"""


def write_model(architecture: str, folder: Path) -> Path:
    """Write a random encoder without a head, with a BERT tokenizer of a few words, and return its folder."""
    import torch
    from transformers import AutoModel, BertTokenizer

    sys.path.insert(0, str(ROOT / "tests"))
    from architectures import tiny_config

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    AutoModel.from_config(tiny_config(architecture, len(TOKENS))).save_pretrained(folder)
    return folder


def features(folder: Path) -> dict[str, Callable[[], None]]:
    """Return for each column what tries it with the model in a folder; each loads the model itself."""
    from bertlab.cli.arguments import ModelArguments
    from bertlab.data import tokenization
    from bertlab.data.labels import SINGLE, LabelSchema
    from bertlab.models import loading, parts
    from bertlab.training import preflight
    from bertlab.training.collators import PaddingCollator
    from bertlab.training.loss import ExactLoss

    def step(precision: str = "fp32", pairs: bool = False, **settings: Any) -> Any:
        arguments = ModelArguments(model_name_or_path=str(folder), **settings)
        config, tokenizer = loading.load_config(arguments), loading.load_tokenizer(arguments)
        model = loading.build_classifier(arguments, config, LabelSchema(SINGLE, ("x", "y"), {}), tokenizer)
        columns = [["the boy sings a good film book", "a bad dog reads the film"]] * (1 + pairs)
        inputs = tokenization.tokenize_texts(columns, tokenizer, 32)
        rows = [
            {"input_ids": ids, **{n: v[i] for n, v in inputs.items()}, "labels": i}
            for i, ids in enumerate(inputs["input_ids"])
        ]
        batch = PaddingCollator(tokenizer, 32)(rows)
        problem = preflight._failure(model, batch, ExactLoss(SINGLE), precision)
        if problem:
            raise UserError(problem)
        return model, tokenizer

    return {
        "trains": step,
        "pairs": lambda: step(pairs=True),
        "bf16": lambda: step("bf16"),
        "layer-wise decay": lambda: parts.layer_depths(step()[0], "--layerwise_lr_decay"),
        "re-initialization": lambda: step(reinit_layers=1),
        "LoRA": lambda: step(lora_rank=2),
    }


def answer(attempt: Callable[[], object]) -> str:
    """Return "yes", or "no" with the reason."""
    try:
        attempt()
    except Exception as error:  # whatever a model's code raises
        problem = error.problem if isinstance(error, UserError) else str(error)
        return f"no: {(problem.splitlines() or [type(error).__name__])[0][:100]}"
    return "yes"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, of all architectures or of those named."""
    sys.path.insert(0, str(ROOT / "tests"))
    from architectures import ARCHITECTURES

    rows = []
    for architecture in argv or ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            tried = features(write_model(architecture, Path(folder) / "model"))
            rows.append((architecture, *(answer(tried[column]) for column in COLUMNS)))
    notes = [
        f"- {row[0]}, {column}: {cell[4:]}"
        for row in rows
        for column, cell in zip(COLUMNS, row[1:], strict=True)
        if cell != "yes"
    ]
    table = console.markdown(("architecture", *COLUMNS), [[cell.split(":")[0] for cell in row] for row in rows])
    write_text(PAGE, INTRODUCTION + table + "\n\n## Reasons\n\n" + "\n".join(notes) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
