"""What EncoderTrainer corrects in the installed transformers and accelerate: a test that fails has no override to keep.

Each test shows the behaviour of the plain Trainer that an override replaces; what ours does instead is tested beside.
"""

import inspect
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

ROWS = 12


@pytest.fixture
def plain(still_model: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """Return a function that makes a plain Trainer of a model without dropout on rows of 3 to 14 tokens."""
    tokenizer = AutoTokenizer.from_pretrained(still_model)
    ids = [[2, *range(20, 21 + row), 3] for row in range(ROWS)]
    rows = [
        {"input_ids": row, "attention_mask": [1] * len(row), "labels": index % 2, "length": len(row)}
        for index, row in enumerate(ids)
    ]

    def make(**settings: Any) -> Trainer:
        options = {name: settings.pop(name) for name in ("compute_metrics", "callbacks") if name in settings}
        quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
        torch.manual_seed(0)
        return Trainer(
            model=AutoModelForSequenceClassification.from_pretrained(still_model),
            args=TrainingArguments(output_dir=str(tmp_path), **{**quiet, **settings}),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            **options,
        )

    return make


def _losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_the_private_methods_that_are_overridden_take_what_ours_take():
    expected = {
        "_get_train_sampler": ["train_dataset"],
        "_get_num_items_in_batch": ["batch_samples", "device"],
        "_issue_warnings_after_load": ["load_result"],
        "_save_checkpoint": ["model", "trial"],
        "_run_epoch": [
            *("model", "epoch", "train_dataloader", "steps_in_epoch", "num_update_steps_per_epoch", "trial"),
            *("ignore_keys_for_eval", "start_time", "resume_from_checkpoint", "epochs_trained"),
            "steps_trained_in_current_epoch",
        ],
    }
    parameters = {name: list(inspect.signature(getattr(Trainer, name)).parameters)[1:] for name in expected}
    assert parameters == expected


def test_compute_loss_func_the_loss_grows_with_the_micro_batches(plain):
    """transformers issue 47688: BERT's heads take num_items_in_batch and do not divide by it."""
    first: list[float] = []
    for size, steps in ((12, 1), (3, 4)):
        trainer = plain(per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=1)
        trainer.train()
        first.append(_losses(trainer)[0])
    assert first[1] == pytest.approx(4 * first[0], rel=1e-2)


def test_issue_warnings_after_load_tied_weights_are_called_missing(plain, monkeypatch: pytest.MonkeyPatch):
    """As after each run of masked language modeling that loads its best checkpoint."""
    said: list[str] = []
    monkeypatch.setattr("transformers.trainer.logger.warning", said.append)
    trainer = plain()
    trainer.model = BertForMaskedLM(BertConfig(hidden_size=4, num_hidden_layers=1, num_attention_heads=1))
    weights = {name: weight for name, weight in trainer.model.state_dict().items() if "decoder" not in name}
    trainer._issue_warnings_after_load(trainer.model.load_state_dict(weights, strict=False))
    assert said == [
        "There were missing keys in the checkpoint model loaded: "
        "['cls.predictions.decoder.weight', 'cls.predictions.decoder.bias']."
    ]


def test_get_train_sampler_the_order_depends_on_the_processes_and_on_a_generator(plain):
    def order(layout: tuple[int, int], seed: int = 0) -> list[int]:
        trainer = plain(
            per_device_train_batch_size=layout[0],
            gradient_accumulation_steps=layout[1],
            train_sampling_strategy="group_by_length",
        )
        torch.manual_seed(seed)
        return list(trainer._get_train_sampler())

    assert order((2, 1)) != order((2, 1), seed=1)
    assert order((4, 1)) != order((2, 1)), "so 4 rows are another order than 2 on each of two processes"


def test_get_batch_samples_accelerate_repeats_rows_to_fill_the_last_batch():
    batches = BatchSampler(SequentialSampler(range(6)), batch_size=2, drop_last=False)
    shards = [BatchSamplerShard(batches, num_processes=2, process_index=rank) for rank in range(2)]
    seen = [row for shard in shards for batch in shard for row in batch]
    assert len(seen) == 8
    assert set(seen) == set(range(6))


def test_get_num_items_in_batch_minus_100_is_no_label_in_regression(plain):
    trainer = plain()
    trainer.compute_loss_func = lambda *_: None
    labels = torch.tensor([1.0, -100.0, 2.0])
    assert trainer._get_num_items_in_batch([{"labels": labels}], torch.device("cpu")) == 2


def test_get_test_dataloader_evaluation_rows_are_permuted_with_group_by_length(plain):
    trainer = plain(train_sampling_strategy="group_by_length")
    loader = trainer.get_test_dataloader(trainer.eval_dataset)
    lengths = [int(row) for batch in loader for row in batch["attention_mask"].sum(dim=1)]
    assert lengths != trainer.eval_dataset["length"][:]


def test_eval_loader_accelerate_keeps_the_loader_of_every_evaluation(plain):
    trainer = plain()
    for _ in range(3):
        trainer.get_eval_dataloader()
    assert len(trainer.accelerator._dataloaders) == 3


def test_prediction_step_a_batch_of_one_row_weighs_as_much_as_one_of_eleven(plain):
    trainer = plain(per_device_eval_batch_size=ROWS)
    trainer.model.classifier.weight.data *= 1000
    batches = [[0], list(range(1, ROWS))]
    columns = trainer.eval_dataset.remove_columns("length")
    loader = trainer.accelerator.prepare(DataLoader(columns, batch_sampler=batches, collate_fn=trainer.data_collator))
    loss = trainer.evaluation_loop(loader, "Evaluation", prediction_loss_only=True).metrics["eval_loss"]
    assert abs(loss - trainer.evaluate()["eval_loss"]) > 1e-3


def test_evaluation_loop_autocast_ends_with_each_batch(plain, monkeypatch):
    outside: list[bool] = []
    step = Trainer.prediction_step

    def watched(self: Trainer, *given: Any, **options: Any) -> Any:
        outside.append(torch.is_autocast_enabled("cpu"))
        return step(self, *given, **options)

    monkeypatch.setattr(Trainer, "prediction_step", watched)
    plain(bf16=True).evaluate()
    assert outside and not any(outside)


def test_save_model_a_pickle_and_weights_for_their_owner_alone(plain, tmp_path: Path):
    plain().save_model()
    assert (tmp_path / "training_args.bin").is_file()
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) != 0o600


def test_save_checkpoint_half_a_checkpoint_has_its_final_name(plain, tmp_path: Path, monkeypatch):
    present: list[set[str]] = []
    save = Trainer._save_rng_state

    def watched(self: Trainer, output_dir: str) -> None:
        present.append({path.name for path in (tmp_path / "checkpoint-1").iterdir()})
        save(self, output_dir)

    monkeypatch.setattr(Trainer, "_save_rng_state", watched)
    plain(max_steps=1, save_strategy="steps", save_steps=1).train()
    assert "optimizer.pt" in present[0]
    assert "trainer_state.json" not in present[0]


def test_train_the_newest_checkpoint_is_deleted_at_the_end_with_a_limit_of_one(plain, tmp_path: Path):
    scores = iter([2.0, 1.0])
    trainer = plain(
        compute_metrics=lambda _: {"score": next(scores)},
        num_train_epochs=2,
        save_strategy="epoch",
        eval_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
    )
    trainer.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert trainer.state.global_step == 4


class _Resumed(TrainerCallback):
    """Keeps the speed and loss that Trainer reports of a whole run."""

    last: dict[str, float]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.last = dict(logs)


def test_run_epoch_and_log_a_run_that_was_over_takes_one_step_more_and_forgets_its_loss(plain, tmp_path: Path):
    settings = {"per_device_train_batch_size": 2, "max_steps": 3, "save_strategy": "steps", "save_steps": 3}
    whole, reported = plain(**settings), _Resumed()
    whole.train()
    assert whole.state.global_step == 3
    resumed = plain(callbacks=[reported], **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert resumed.state.global_step == 4
    assert reported.last["train_loss"] != pytest.approx(sum(_losses(whole)) / 3)
