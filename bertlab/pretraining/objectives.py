"""The parts of a Trainer for each objective of run_nsp.py, its evaluation, and the baselines beside its scores."""

import copy
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import EvalPrediction

from bertlab.cli.arguments import NspArguments
from bertlab.console import info
from bertlab.data.labels import NO_LABEL, SINGLE
from bertlab.evaluation import baselines, evaluate
from bertlab.evaluation.evaluate import SplitResult
from bertlab.pretraining import mlm
from bertlab.pretraining.baselines import frequency_baseline, overlap_baseline, sample_rows, warn_if_flipped
from bertlab.pretraining.mlm import NSP_LOGITS
from bertlab.training.collators import PaddingCollator
from bertlab.training.loss import ExactLoss, StepLoss
from bertlab.training.trainer import EncoderTrainer, longest_first, metrics_during_training

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments

    from bertlab.data.dataset import Data

Tokenized = dict[str, "Dataset"]
# Name -> class ids per split, and how they were made.
Baselines = dict[str, tuple[dict[str, np.ndarray], str]]


def training_rows(nsp: NspArguments, args: "TrainingArguments", tokenized: Tokenized, data: "Data") -> "Dataset | None":
    """Return the rows to train on; None where the run does not train."""
    if not data.train or not args.do_train:
        return None
    rows = tokenized[data.train]
    return rows if nsp.objective == "nsp" else mlm.with_mask_rows(rows)


def evaluation_rows(nsp: NspArguments, tokenized: Tokenized, data: "Data") -> "Dataset | None":
    """Return the rows to evaluate on while training, longest first; None where there is no such split."""
    rows = longest_first(tokenized.get(data.eval_split or ""))
    return rows if rows is None or nsp.objective == "nsp" else mlm.with_mask_seeds(rows, nsp.split_seed)


def data_collator(nsp: NspArguments, tokenizer: "PreTrainedTokenizerBase", seed: int) -> Any:
    """Return the collator of an objective: it pads, and masks tokens where they are to be predicted."""
    pad = PaddingCollator(tokenizer, nsp.max_seq_length, nsp.pad_to_max_length)
    if nsp.objective == "nsp":
        return pad
    return mlm.MaskingCollator(
        tokenizer,
        pad,
        nsp.mlm_probability,
        whole_words=nsp.whole_word_masking,
        nsp="nsp" in nsp.objective,
        seed=seed,
    )


def loss_function(nsp: NspArguments, args: "TrainingArguments") -> StepLoss:
    """Return the loss of an objective, exact under any batch layout."""
    return _nsp_loss(args) if nsp.objective == "nsp" else mlm.PretrainingLoss()


def preprocess_logits(nsp: NspArguments) -> Callable[[Any, Any], Any] | None:
    """Return what is kept of a batch's logits: all of them, or the statistics of each row where tokens are masked."""
    return None if nsp.objective == "nsp" else mlm.row_statistics


def metrics_function(
    nsp: NspArguments, args: "TrainingArguments", data: "Data"
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function that scores an evaluation during training."""
    if nsp.objective == "nsp":
        return metrics_during_training(data.schema, data.metrics, _nsp_loss(args).of_rows)

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        statistics = np.asarray(prediction.predictions)
        scores = mlm.mlm_metrics(statistics)
        scores["loss"] = float(np.log(scores["perplexity"]))
        if "nsp" in nsp.objective:
            labels = np.asarray(prediction.label_ids)[:, 0]
            loss = ExactLoss(SINGLE).of_rows
            nsp_scores = evaluate.compute_metrics(data.schema, data.metrics, statistics[:, NSP_LOGITS], labels, loss)
            scores = {**scores, **nsp_scores, "loss": scores["loss"] + nsp_scores["loss"]}
        return scores

    return compute_metrics


def evaluate_splits(
    nsp: NspArguments, trainer: EncoderTrainer, tokenized: Tokenized, data: "Data", names: Sequence[str]
) -> list[SplitResult]:
    """Return predictions and scores of the named splits, in the order of their pairs."""
    if nsp.objective == "nsp":
        return evaluate.evaluate_splits(trainer, tokenized, data, tuple(names), _nsp_loss(trainer.args).of_rows)
    return [_evaluate_pretraining(nsp, trainer, tokenized[name], data, name) for name in names]


def evaluate_trained(
    nsp: NspArguments, trainer: EncoderTrainer, tokenized: Tokenized, data: "Data", names: Sequence[str]
) -> list[SplitResult]:
    """Return `evaluate_splits` of the splits to report on, with the baselines of MLM among the metrics."""
    results = evaluate_splits(nsp, trainer, tokenized, data, names)
    if data.train and nsp.objective != "nsp":
        for result in results:
            result.metrics.update(_frequency_baseline(trainer, tokenized[data.train], tokenized[result.name]))
    return results


def compute_baselines(
    nsp: NspArguments,
    trainer: EncoderTrainer,
    tokenized: Tokenized,
    data: "Data",
    names: Sequence[str],
    has_pretrained_head: bool,
) -> Baselines:
    """Return the predictions of majority class, word overlap and the model before training, for the named splits."""
    if "nsp" not in nsp.objective or not names or data.train is None:
        return {}
    labels = np.asarray(tokenized[data.train]["labels"][:])
    majority = {name: baselines.majority_baseline(labels, len(tokenized[name])) for name in names}
    sample = data.splits[data.train].select(sample_rows(len(labels)))
    texts = {name: data.texts(name) for name in names}
    results: Baselines = {
        "majority": (majority, "always the most frequent training class"),
        "word_overlap": overlap_baseline(data.read(sample[:]), np.asarray(sample["labels"][:]), texts),
    }
    if trainer.is_fsdp_enabled:
        info("under FSDP the model is not scored before training: it is sharded only together with an optimizer.")
        return results
    untrained = evaluate_splits(nsp, _trainer_of_a_copy(trainer), tokenized, data, names)
    predictions = {result.name: result.predictions for result in untrained}
    if not has_pretrained_head:
        return {**results, "before_training": (predictions, "the model before training, its head untrained")}
    for result in untrained:
        warn_if_flipped(result.predictions, np.asarray(result.labels))
    return {**results, "zero_shot": (predictions, "the model before training, with its pretrained head")}


def _trainer_of_a_copy(trainer: EncoderTrainer) -> EncoderTrainer:
    """Return a trainer of a copy of the model, to evaluate it before it is trained.

    Evaluation marks a model as prepared. Training would leave it unwrapped, and processes would not share gradients.
    """
    args = copy.copy(trainer.args)
    args.eval_strategy, args.report_to, args.push_to_hub = "no", [], False
    return EncoderTrainer(
        model=copy.deepcopy(trainer.model),
        args=args,
        data_collator=trainer.data_collator,
        processing_class=trainer.processing_class,
        compute_loss_func=trainer.compute_loss_func,
        preprocess_logits_for_metrics=trainer.preprocess_logits_for_metrics,
        run=trainer.run,
    )


def _nsp_loss(args: "TrainingArguments") -> ExactLoss:
    return ExactLoss(SINGLE, label_smoothing=args.label_smoothing_factor)


def _frequency_baseline(trainer: EncoderTrainer, train: "Dataset", split: "Dataset") -> dict[str, float]:
    """Return the MLM scores of token frequencies alone, from samples of both splits."""
    tokenizer: Any = trainer.processing_class
    train_ids, split_ids = (rows.select(sample_rows(len(rows)))["input_ids"][:] for rows in (train, split))
    return frequency_baseline(train_ids, split_ids, tokenizer.all_special_ids, len(tokenizer))


def _evaluate_pretraining(
    nsp: NspArguments, trainer: EncoderTrainer, split: "Dataset", data: "Data", name: str
) -> SplitResult:
    started = time.perf_counter()
    order = np.argsort(-np.asarray(split["length"][:]), kind="stable")
    seeded = mlm.with_mask_seeds(split, nsp.split_seed)
    statistics = np.zeros((len(split), mlm.STATISTICS), dtype=np.float32)
    statistics[order] = trainer.predict(seeded.select(order)).predictions
    seconds = time.perf_counter() - started
    logits = statistics[:, NSP_LOGITS]
    labels = np.asarray(split["labels"][:]) if "nsp" in nsp.objective else None
    metrics: dict[str, float] = (
        {} if labels is None else evaluate.compute_metrics(data.schema, data.metrics, logits, labels)
    )
    metrics.update(mlm.mlm_metrics(statistics))
    metrics.update(runtime=seconds, samples_per_second=len(split) / seconds)
    prefix = evaluate.metric_prefix(name, data)
    predictions = logits.argmax(axis=1) if labels is not None else np.full(len(split), NO_LABEL)
    return SplitResult(name, prefix, logits, predictions, labels, metrics, has_predictions=labels is not None)
