"""Masking and its loss: the stated shares, the same whatever the batch, equal to BERT's own numbers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from nsp_runs import paragraphs, pretrain, write_text
from running import farthest, history, variant
from torch.nn import functional
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForPreTraining

from bertlab.data.labels import NO_LABEL
from bertlab.pretraining import mlm
from bertlab.pretraining.mlm import MaskingCollator, PretrainingLoss
from bertlab.training.collators import PaddingCollator

ROWS = 2000


@pytest.fixture(scope="module")
def ids(tokenizer: Any) -> torch.Tensor:
    """Return padded rows (ROWS, tokens) of words, many of which have several pieces, and some [UNK]."""
    dice = np.random.default_rng(0)
    choices = np.array(["the", "cat", "story", "walks", "zebra", "bread", "rounds", "\u2603"])
    texts = [" ".join(dice.choice(choices, dice.integers(3, 14))) for _ in range(ROWS)]
    return tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]


@pytest.fixture(scope="module")
def tokenized(tokenizer: Any) -> list[dict[str, Any]]:
    """Return twelve rows of pairs, of different lengths, with a label, a seed and a number."""
    texts = paragraphs(24)
    rows = []
    for index in range(12):
        found = tokenizer(texts[2 * index], texts[2 * index + 1], truncation=True, max_length=20 + 3 * index)
        found.pop("attention_mask")
        rows.append({**found, "labels": index % 2, "mask_seed": 7 + index})
    return rows


def _collator(tokenizer: Any, pad_to: int | None = None, probability: float = 0.3, **options: Any) -> MaskingCollator:
    return MaskingCollator(tokenizer, PaddingCollator(tokenizer, pad_to, fixed=True), probability, **options)


def _masked(tokenizer: Any, ids: torch.Tensor, probability: float, whole_words: bool) -> tuple[torch.Tensor, ...]:
    """Return all rows masked, one after another by one generator, and the ids to predict."""
    collator, generator = _collator(tokenizer, None, probability, whole_words=whole_words), torch.Generator()
    generator.manual_seed(0)
    return tuple(map(torch.stack, zip(*(collator.mask(row, generator) for row in ids), strict=True)))


def _share(mask: torch.Tensor, of: torch.Tensor) -> float:
    return float(mask.sum() / of.sum())


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("probability", [0.15, 0.5])
def test_the_stated_share_of_tokens_is_chosen(probability, whole_words, tokenizer, ids):
    _, targets = _masked(tokenizer, ids, probability, whole_words)
    can_be_chosen = ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    # About 24,000 tokens: four standard deviations of a share of 0.5 are 0.013, for words of three pieces 0.022.
    assert _share(targets != NO_LABEL, can_be_chosen) == pytest.approx(probability, abs=0.022)


@pytest.mark.parametrize("whole_words", [False, True])
def test_of_the_chosen_80_10_and_10_per_cent_are_masked_swapped_and_kept(whole_words, tokenizer, ids):
    masked, targets = _masked(tokenizer, ids, 0.5, whole_words)
    chosen = targets != NO_LABEL
    assert _share(masked.eq(tokenizer.mask_token_id) & chosen, chosen) == pytest.approx(0.8, abs=0.015)
    changed = chosen & masked.ne(tokenizer.mask_token_id) & masked.ne(ids)
    assert _share(changed, chosen) == pytest.approx(0.1, abs=0.012)
    assert _share(chosen & masked.eq(ids), chosen) == pytest.approx(0.1, abs=0.012)
    assert len(masked[changed].unique()) > 0.8 * len(tokenizer), "random tokens come from the whole vocabulary"


@pytest.mark.parametrize("whole_words", [False, True])
def test_special_tokens_and_padding_stay_and_the_ids_to_predict_are_what_was_there(whole_words, tokenizer, ids):
    masked, targets = _masked(tokenizer, ids, 0.9, whole_words)
    chosen = targets != NO_LABEL
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    assert not (chosen & special).any()
    assert {tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.unk_token_id} <= set(ids[special].tolist())
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert torch.equal(targets[chosen], ids[chosen])


def _words(tokenizer: Any, row: torch.Tensor) -> list[list[int]]:
    """Return the places of each word of a row, [CLS], [SEP] and padding left out."""
    places: list[list[int]] = []
    for place, token in enumerate(tokenizer.convert_ids_to_tokens(row.tolist())):
        if token.startswith("##"):
            places[-1].append(place)
        elif token not in tokenizer.all_special_tokens:
            places.append([place])
    return places


def test_whole_words_are_chosen_together_and_at_the_stated_rate(tokenizer, ids):
    _, targets = _masked(tokenizer, ids, 0.3, True)
    whole, several = [], 0
    for row, back in zip(ids, targets, strict=True):
        for places in _words(tokenizer, row):
            pieces = {bool(back[place] != NO_LABEL) for place in places}
            assert len(pieces) == 1
            whole.append(pieces.pop())
            several += len(places) > 1
    assert np.mean(whole) == pytest.approx(0.3, abs=0.018)
    assert several > ROWS, "the text has words of several pieces, or this proves nothing"


def test_pieces_are_chosen_apart_without_whole_words(tokenizer, ids):
    _, targets = _masked(tokenizer, ids, 0.3, False)
    apart = [
        len({bool(back[place] != NO_LABEL) for place in places}) == 2
        for row, back in zip(ids[:200], targets, strict=False)
        for places in _words(tokenizer, row)
    ]
    assert sum(apart) > 50


def test_masking_leaves_the_random_numbers_of_dropout_alone(tokenizer, tokenized):
    state = torch.get_rng_state()
    _collator(tokenizer)(tokenized)
    assert torch.equal(torch.get_rng_state(), state)


def _own(batch: dict[str, torch.Tensor], index: int) -> tuple[list[int], list[int]]:
    """Return a row's own ids and labels, without padding."""
    own = batch["attention_mask"][index].bool()
    return batch["input_ids"][index][own].tolist(), batch["labels"][index, 1:][own].tolist()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pad_to", [None, 64])
def test_a_row_is_masked_the_same_whatever_stands_beside_it(pad_to, side, tiny_model, tokenized):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, padding_side=side)
    together = _collator(tokenizer, pad_to)(tokenized)
    for index, row in enumerate(tokenized):
        assert _own(_collator(tokenizer)([row]), 0) == _own(together, index)
        ids, back = _own(together, index)
        assert [old if old != NO_LABEL else new for new, old in zip(ids, back, strict=True)] == row["input_ids"]
    padding = ~together["attention_mask"].bool()
    assert (together["labels"][:, 1:][padding] == NO_LABEL).all()
    assert (together["input_ids"][padding] == tokenizer.pad_token_id).all()


@pytest.mark.parametrize("nsp", [True, False])
def test_labels_are_the_nsp_label_and_then_the_tokens(nsp, tokenizer, tokenized):
    batch = _collator(tokenizer, nsp=nsp)(tokenized)
    rows, tokens = batch["input_ids"].shape
    assert batch["labels"].shape == (rows, 1 + tokens)
    assert batch["labels"].dtype == torch.int64
    assert batch["labels"][:, 0].tolist() == [row["labels"] if nsp else NO_LABEL for row in tokenized]
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    seen = batch["labels"][:, 1:]
    assert mlm.PretrainingLoss().count(batch["labels"]).tolist() == [rows * nsp, int((seen != -100).sum())]


@pytest.mark.parametrize("seed", [5, 18_446_634, 2**32 - 1])
def test_training_rows_are_masked_differently_in_every_epoch_by_their_number(seed, tokenizer, tokenized):
    """With the largest seed that --seed takes too, whose rows would begin above 64 bits."""
    rows = [{**row, "train_row": index} for index, row in enumerate(tokenized)]
    for row in rows:
        del row["mask_seed"]
    collate = _collator(tokenizer, seed=seed)
    first = collate(rows)["labels"]
    assert torch.equal(collate(rows)["labels"], first)
    collate.set_epoch(1)
    second = collate(rows)["labels"]
    assert not torch.equal(second, first)
    collate.set_epoch(0)
    assert torch.equal(collate(rows)["labels"], first)
    assert not torch.equal(_collator(tokenizer, seed=seed - 1)(rows)["labels"], first)


def test_neighbouring_seeds_choose_every_place_at_the_stated_rate(tokenizer):
    row = {"input_ids": [2, *[40] * 10, 3], "labels": 0}
    batch = _collator(tokenizer)([{**row, "train_row": index} for index in range(3000)])
    shares = (batch["labels"][:, 2:-1] != NO_LABEL).double().mean(dim=0)
    # Four standard deviations.
    assert shares.tolist() == pytest.approx([0.3] * 10, abs=0.034)


@pytest.fixture(scope="module")
def batch(tokenizer, tokenized) -> dict[str, torch.Tensor]:
    return _collator(tokenizer, nsp=True)(tokenized)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> BertForPreTraining:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForPreTraining(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)).eval()


def _inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def test_the_loss_of_a_batch_is_berts_own(model: BertForPreTraining, batch):
    labels = batch["labels"]
    with torch.no_grad():
        expected = model(**_inputs(batch), labels=labels[:, 1:].contiguous(), next_sentence_label=labels[:, 0]).loss
        ours = PretrainingLoss()(model(**_inputs(batch)), labels)
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_without_nsp_the_loss_is_that_of_mlm(model: BertForPreTraining, batch):
    words_alone = BertForMaskedLM(model.config).eval()
    labels = batch["labels"].clone()
    labels[:, 0] = NO_LABEL
    with torch.no_grad():
        expected = words_alone(**_inputs(batch), labels=labels[:, 1:].contiguous()).loss
        assert float(PretrainingLoss()(words_alone(**_inputs(batch)), labels)) == pytest.approx(float(expected))


def test_a_batch_without_a_masked_token_has_a_finite_loss(model: BertForPreTraining, batch):
    labels = batch["labels"].clone()
    labels[:, 1:] = NO_LABEL
    outputs = model(**_inputs(batch))
    loss = PretrainingLoss()(outputs, labels)
    expected = functional.cross_entropy(outputs.seq_relationship_logits, labels[:, 0])
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)
    model.zero_grad()


def test_parts_of_a_step_add_up_to_its_loss(model: BertForPreTraining, batch):
    labels, loss = batch["labels"], PretrainingLoss()
    counts = mlm.PretrainingLoss().count(labels)
    with torch.no_grad():
        outputs = model(**_inputs(batch))
        parts = 0.0
        for cut in (slice(0, 1), slice(1, 5), slice(5, 12)):
            part = SimpleNamespace(
                prediction_logits=outputs.prediction_logits[cut],
                seq_relationship_logits=outputs.seq_relationship_logits[cut],
            )
            parts += float(loss(part, labels[cut], counts))
    assert parts == pytest.approx(float(loss(outputs, labels)), rel=1e-6)


def test_row_statistics_are_what_a_loop_over_tokens_finds(model: BertForPreTraining, batch):
    labels = batch["labels"]
    with torch.no_grad():
        outputs = model(**_inputs(batch))
    words, sentences = outputs.prediction_logits, outputs.seq_relationship_logits
    expected = np.zeros((len(labels), 5))
    for row, targets in enumerate(labels[:, 1:].tolist()):
        for place, token in enumerate(targets):
            if token != NO_LABEL:
                probabilities = words[row, place].log_softmax(dim=-1)
                expected[row, 2:] += [1, float(probabilities.argmax() == token), -float(probabilities[token])]
    expected[:, :2] = sentences
    found = mlm.row_statistics((words, sentences), labels).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(mlm.row_statistics(words, labels).numpy()[:, 2:], expected[:, 2:], rtol=1e-5)
    scores = mlm.mlm_metrics(found)
    assert scores == {
        "masked_accuracy": pytest.approx(expected[:, 3].sum() / expected[:, 2].sum()),
        "perplexity": pytest.approx(np.exp(expected[:, 4].sum() / expected[:, 2].sum()), rel=1e-5),
        "masked_tokens": int((labels[:, 1:] != NO_LABEL).sum()),
    }


def test_nothing_masked_has_no_score():
    scores = mlm.mlm_metrics(np.zeros((3, 5), dtype=np.float32))
    assert np.isnan(scores["masked_accuracy"]) and np.isnan(scores["perplexity"])
    assert scores["masked_tokens"] == 0


def test_mask_seeds_follow_the_row_and_the_seed():
    split = Dataset.from_dict({"idx": [4, 0, 2]})
    seeds = mlm.with_mask_seeds(split, 42)["mask_seed"][:]
    assert np.subtract(seeds, seeds[1]).tolist() == [4, 0, 2]
    assert seeds != mlm.with_mask_seeds(split, 43)["mask_seed"][:]


@pytest.fixture(scope="module")
def still_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a run of 16 rows at once by a model without dropout, and its settings."""
    folder = tmp_path_factory.mktemp("cuts")
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    still = variant(tiny_model, folder / "still", **no_dropout)
    settings = {
        "text": write_text(folder / "text.txt", 30),
        "model_name_or_path": still,
        "objective": "nsp+mlm",
        "max_train_samples": 56,  # the last step of an epoch has 8 rows
        "num_train_epochs": 2,
        "learning_rate": 5e-3,
        "validation_fraction": 0,
        "selection_fraction": 0,
        "logging_steps": 1,
        "config": _recipe(folder / "plain.yaml"),
    }
    assert pretrain(folder / "whole", **settings, per_device_train_batch_size=16) == 0
    return folder / "whole", settings


def _recipe(path: Path) -> Path:
    """Write a recipe that sets next to nothing, in place of the default one."""
    path.write_text("document_unit: line\n", encoding="utf-8")
    return path


def test_a_step_cut_in_micro_batches_gives_the_same_gradients(still_run, tmp_path: Path):
    whole, settings = still_run
    cut = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert pretrain(tmp_path / "cut", **settings, **cut) == 0
    assert len(history(whole, "loss")) == 8
    assert history(tmp_path / "cut", "loss") == pytest.approx(history(whole, "loss"), abs=1e-5)
    assert history(tmp_path / "cut", "grad_norm") == pytest.approx(history(whole, "grad_norm"), rel=1e-4)
    assert farthest(tmp_path / "cut", whole) < 1e-4
    assert max(history(whole, "loss")) - min(history(whole, "loss")) > 0.1, "it learns, or this proves nothing"
