"""The parts of a Trainer for each objective of run_nsp.py, its evaluation, and the baselines beside its scores."""

import copy
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import EvalPrediction

from bertlab.cli.arguments import NspArguments
from bertlab.console import info, quiet_datasets
from bertlab.data import tokenization
from bertlab.data.groups import resampled_groups
from bertlab.data.labels import NO_LABEL, SINGLE
from bertlab.evaluation import baselines, evaluate
from bertlab.evaluation.evaluate import SplitResult
from bertlab.models import parts
from bertlab.models.segment_cosine import BertSegmentCosineForNextSentencePrediction
from bertlab.pretraining import dataset, mlm, pairs
from bertlab.pretraining.baselines import frequency_baseline, overlap_baseline, sample_rows, warn_if_flipped
from bertlab.pretraining.mlm import NSP_LOGITS
from bertlab.pretraining.pairs import IS_NEXT
from bertlab.pretraining.ranking import ranking_metrics
from bertlab.training.arguments import global_batch
from bertlab.training.collators import EpochRowsCollator, PaddingCollator
from bertlab.training.loss import ExactLoss, StepLoss
from bertlab.training.trainer import EncoderTrainer, longest_first, metrics_during_training

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments

    from bertlab.data.dataset import Data

Tokenized = dict[str, "Dataset"]
# Scale and threshold of the cosine where they cannot be fitted, and how many pairs they are fitted on.
USUAL_START, START_PAIRS = (10.0, 0.5), 1_000
# Name -> class ids per split, and how they were made.
Baselines = dict[str, tuple[dict[str, np.ndarray], str]]


def training_rows(args: "TrainingArguments", tokenized: Tokenized, data: "Data") -> "Dataset | None":
    """Return the rows to train on; None where the run does not train."""
    if not data.train or not args.do_train:
        return None
    rows = tokenized[data.train]
    with quiet_datasets():
        return rows.add_column("train_row", np.arange(len(rows)))


def later_epochs(
    nsp: NspArguments,
    args: "TrainingArguments",
    train: "Dataset | None",
    text: dataset.Text,
    tokenizer: "PreTrainedTokenizerBase",
    started: float,
) -> list["Dataset"]:
    """Return the tokenized training rows of the epochs after the first, where they differ from its own."""
    if train is None:
        return []
    steps = math.ceil(len(train) / global_batch(args))
    epochs = math.ceil(args.max_steps / steps if args.max_steps > 0 else args.num_train_epochs)
    return [
        tokenization.tokenize_split(
            table,
            tokenizer,
            nsp,
            read=functools.partial(pairs.pair_texts, text.sentences),
            started=started,
            description=f"Tokenizing train, epoch {epoch}",
        )
        for epoch, table in enumerate(dataset.fresh_pairs(text, nsp, tokenizer, epochs), 2)
    ]


def evaluation_rows(nsp: NspArguments, tokenized: Tokenized, data: "Data") -> "Dataset | None":
    """Return the rows to evaluate on while training, longest first; None where there is no such split."""
    rows = longest_first(tokenized.get(data.eval_split or ""))
    return rows if rows is None or nsp.objective == "nsp" else mlm.with_mask_seeds(rows, nsp.split_seed)


def data_collator(
    nsp: NspArguments, tokenizer: "PreTrainedTokenizerBase", seed: int, later: Sequence["Dataset"] = ()
) -> Any:
    """Return the collator of an objective: it pads, and masks tokens where they are to be predicted.

    `later` are the tokenized training rows of the epochs after the first, where they differ.
    """
    collate: Any = PaddingCollator(tokenizer, nsp.max_seq_length, nsp.pad_to_max_length)
    if nsp.objective != "nsp":
        collate = mlm.MaskingCollator(
            tokenizer,
            collate,
            nsp.mlm_probability,
            whole_words=nsp.whole_word_masking,
            nsp="nsp" in nsp.objective,
            seed=seed,
        )
    return EpochRowsCollator(collate, later) if later else collate


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
    """Return `evaluate_splits` of the splits to report on, with a ranking or the baselines of MLM."""
    results = evaluate_splits(nsp, trainer, tokenized, data, names)
    for result in results:
        if nsp.objective == "nsp":
            result.metrics.update(ranking_metrics(nsp, trainer, data, result.name))
        elif data.train:
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
    """Return the class probabilities of the baselines for the named splits.

    Majority class, word overlap, the first and the second segment alone, and the model before training.
    """
    if "nsp" not in nsp.objective or not names or data.train is None:
        return {}
    labels = np.asarray(tokenized[data.train]["labels"][:])
    majority = {name: baselines.constant_baseline(labels, len(tokenized[name]), data.schema) for name in names}
    sample = data.splits[data.train].select(sample_rows(len(labels)))
    train, train_labels = data.read(sample[:]), np.asarray(sample["labels"][:])
    texts = {name: data.texts(name) for name in names}
    results: Baselines = {
        "majority": (majority, "always the most frequent training class"),
        "word_overlap": overlap_baseline(train, train_labels, texts),
    }
    for segment, name in enumerate(("first_alone", "second_alone")):
        take = functools.partial(_take, train[segment])
        results[name] = baselines.tfidf_baseline(
            take, train_labels, {key: texts[key][segment] for key in texts}, data.schema
        )
    if trainer.is_fsdp_enabled:
        info("under FSDP the model is not scored before training: it is sharded only together with an optimizer.")
        return results
    untrained = evaluate_splits(nsp, _trainer_of_a_copy(trainer), tokenized, data, names)
    outputs = {result.name: evaluate.class_probabilities(data.schema, result.logits) for result in untrained}
    if not has_pretrained_head:
        return {**results, "before_training": (outputs, "the model before training, its head untrained")}
    for result in untrained:
        warn_if_flipped(result.predictions, np.asarray(result.labels))
    return {**results, "zero_shot": (outputs, "the model before training, with its pretrained head")}


def fit_start(trainer: EncoderTrainer, tokenized: Tokenized, data: "Data") -> None:
    """Let a new head of segment cosines start with the scale and the threshold that fit training pairs best."""
    from sklearn.linear_model import LogisticRegression

    head = parts.unwrap(trainer.model)
    if data.train is None or not isinstance(head, BertSegmentCosineForNextSentencePrediction):
        return
    head.start_at_cosine(*USUAL_START)
    if trainer.is_fsdp_enabled:
        return
    sample = tokenized[data.train].select(sample_rows(len(tokenized[data.train]), START_PAIRS))
    labels = np.asarray(sample["labels"][:])
    if len(np.unique(labels)) < 2:
        return
    scale, threshold = USUAL_START
    copied = _trainer_of_a_copy(trainer)
    copied.args.bf16_full_eval = copied.args.fp16_full_eval = False  # it is trained otherwise
    logits = evaluate.predict_logits(copied, sample)
    cosines = (logits[:, 0] - logits[:, 1]) / scale + threshold
    fitted = LogisticRegression(C=np.inf).fit(cosines[:, None], labels == IS_NEXT)
    slope = max(float(fitted.coef_[0, 0]), 1.0)
    # Where that is not the fitted one, the threshold moves so that the mean probability stays that of the fit.
    intercept = float(fitted.intercept_[0] + (fitted.coef_[0, 0] - slope) * cosines.mean())
    head.start_at_cosine(slope, -intercept / slope)


def _take(texts: Sequence[str], rows: np.ndarray) -> list[str]:
    return [texts[row] for row in rows]


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
    together = None if labels is None else resampled_groups(data.splits[name], name, by_text=False)
    return SplitResult(name, prefix, logits, predictions, labels, metrics, labels is not None, together)
