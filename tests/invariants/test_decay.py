"""Weight decay acts on matrices: never on a bias, never on LayerNorm."""

from pathlib import Path

import pytest
import torch
from running import classify, weights_of
from transformers import AutoModelForSequenceClassification, TrainingArguments

from bertlab.cli.arguments import RunArguments
from bertlab.training.trainer import EncoderTrainer

# The tiny BERT: per layer 6 matrices, 6 biases and 2 LayerNorms of 2; 3 embeddings and their LayerNorm; pooler; head.
DECAYED = 2 * 6 + 3 + 1 + 1
SPARED = 2 * (6 + 4) + 2 + 1 + 1


@pytest.fixture(scope="module")
def groups(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[float, set[str]]:
    """Return the names of the parameters by the weight decay they are trained with."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, dtype=torch.float32)
    folder = str(tmp_path_factory.mktemp("decay"))
    args = TrainingArguments(output_dir=folder, weight_decay=0.01, use_cpu=True, report_to="none")
    optimizer = EncoderTrainer(model=model, args=args, run=RunArguments()).create_optimizer()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_decay: dict[float, set[str]] = {}
    for group in optimizer.param_groups:
        by_decay.setdefault(group["weight_decay"], set()).update(names[id(p)] for p in group["params"])
    assert sum(map(len, by_decay.values())) == len(names)
    return by_decay


def _spared(name: str) -> bool:
    return name.endswith("bias") or "LayerNorm" in name


def test_no_bias_and_no_layer_norm_decays(groups: dict[float, set[str]]):
    assert [name for name in groups[0.01] if _spared(name)] == []
    assert all(_spared(name) for name in groups[0.0])


def test_every_other_parameter_decays(groups: dict[float, set[str]]):
    assert set(groups) == {0.01, 0.0}
    assert (len(groups[0.01]), len(groups[0.0])) == (DECAYED, SPARED) == (17, 24)


def test_decay_shrinks_matrices_and_leaves_biases(tiny_model: Path, sentences, tmp_path: Path):
    """A learning rate that moves nothing but by decay: 1e-3 × 0.5, once."""
    settings = {"max_steps": 1, "learning_rate": 1e-3, "adam_epsilon": 1, "max_grad_norm": 1e-12, "weight_decay": 0.5}
    train = sentences["train_file"]
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, train_file=train, **settings) == 0
    before, after = weights_of(tiny_model), weights_of(tmp_path / "run")
    for name, old in before.items():
        factor = 1.0 if _spared(name) else 1 - 1e-3 * 0.5
        torch.testing.assert_close(after[f"bert.{name}"], old * factor, rtol=1e-6, atol=1e-8)
