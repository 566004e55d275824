"""The signature of a run, kept in each of its checkpoints, so that no other run resumes from them.

What the model sees is compared, not how it was asked for: a file may move and a flag may be spelt out, but no row,
label, weight or value that changes the outcome may differ.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bertlab.console import warning
from bertlab.data import files, tokenization
from bertlab.errors import UserError
from bertlab.models import loading
from bertlab.training.arguments import global_batch
from bertlab.training.checkpoints import SIGNATURE_FILE

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

    from bertlab.data.dataset import Data
    from bertlab.data.streaming import Stream
    from bertlab.training.trainer import EncoderTrainer

# The flags that change the weights or which of them are kept; rows, configuration and weights are compared themselves.
# How long a run trains is among them: the schedule of the learning rate is stretched over it from the first step on.
# Evaluation is, too: it draws from the generator that dropout draws from.
RESUME_CRITICAL = (
    *("num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("max_grad_norm", "label_smoothing_factor", "neftune_noise_alpha", "average_tokens_across_devices"),
    *("bf16", "fp16", "seed", "data_seed", "train_sampling_strategy", "dataloader_drop_last", "ignore_data_skip"),
    *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start"),
    *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *("class_weights", "classifier_dropout", "new_head", "reinit_layers", "freeze_encoder", "freeze_embeddings"),
    *("lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules", "layerwise_lr_decay"),
    *("early_stopping_patience", "early_stopping_threshold"),
    *("objective", "mlm_probability", "whole_word_masking", "streaming", "shuffle_buffer", "fresh_negatives"),
)
# A stream may have no end: so many of its rows stand for all. What becomes of later ones depends on these flags.
STREAMED_ROWS = 1_000
STREAM_RESUME_CRITICAL = ("max_train_samples", "on_missing", "clean", "label_map")
# Where a configuration comes from, and what `labels` says better.
CONFIG_NOT_COMPARED = ("_name_or_path", "transformers_version", "architectures", "dtype")
SHOWN = 6
BATCH = 10_000

RunSignature = dict[str, Any]


def run_signature(
    trainer: "EncoderTrainer", settings: Mapping[str, Any], data: "Data", tokenized: Mapping[str, "Dataset"]
) -> RunSignature:
    """Return what a run must share with one that resumes from its checkpoints, as plain JSON values.

    `settings` are the run's flags by name; those without a value may be missing.
    """
    args, model = trainer.args, cast("PreTrainedModel", trainer.model)
    rows = {name: f"{len(split):,} rows, {fingerprint(split)}" for name, split in tokenized.items()}
    if data.stream:
        rows["stream"] = _stream_fingerprint(data.stream, trainer.processing_class, settings["max_seq_length"])
    values = {**settings, **args.to_dict()}
    critical = (*RESUME_CRITICAL, *(STREAM_RESUME_CRITICAL if data.stream else ()))
    signature = {
        "rows": rows,
        "labels": {"kind": data.schema.kind, "classes": list(data.schema.class_names)},
        "model": {"weights": _weights(settings, model.config), **_configuration(model.config)},
        "values": {name: values.get(name) for name in critical},
        "batch_layout": {
            "global_batch": global_batch(args),
            "per_device_train_batch_size": args.train_batch_size,
            "gradient_accumulation_steps": args.gradient_accumulation_steps,
            "processes": args.world_size,
        },
    }
    return dict(json.loads(json.dumps(signature, default=str)))


def refuse_other_run(checkpoint: Path | None, now: RunSignature) -> None:
    """Refuse a checkpoint whose run was another; say so where only its batch layout is another.

    Raises:
        UserError: rows, labels, weights or values differ, or nothing says what they were.
    """
    if checkpoint is None:
        return
    try:
        before = json.loads((checkpoint / SIGNATURE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Of another model, optimizer, order of rows or learning rate Trainer would load what fits, without a word.
        raise UserError(
            f"{checkpoint} has no {SIGNATURE_FILE}: another program wrote it, or it is damaged.",
            f"To start from its weights, pass --model_name_or_path {checkpoint} with another --output_dir, and no "
            "--resume.",
        ) from None
    changed = differences(before, now)
    if changed:
        more = f"; and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise UserError(
            f"{checkpoint} is from another run: {'; '.join(changed[:SHOWN])}{more}.",
            "Undo the change, or start over without --resume, in another --output_dir or with --overwrite_output_dir.",
        )
    layout = now["batch_layout"]
    if before["batch_layout"] != layout:
        warning(
            f"the global batch of {layout['global_batch']} is divided differently than before "
            f"({_layout(before['batch_layout'])}, now {_layout(layout)}): the rows of each step are the same, dropout "
            "is not."
        )


def differences(before: RunSignature, now: RunSignature) -> list[str]:
    """Return everything in which two runs differ that changes the outcome, as `name before → now`."""
    old, new = _flat(before), _flat(now)
    return [
        f"{name} {_shown(old.get(name))} → {_shown(new.get(name))}"
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    ]


def fingerprint(split: "Dataset") -> str:
    """Return a hash of the token ids, segments and labels of a tokenized split, in order."""
    digest = hashlib.blake2b(digest_size=8)
    columns = [name for name in ("input_ids", "token_type_ids", "labels") if name in split.column_names]
    for batch in split.select_columns(columns).with_format("arrow").iter(batch_size=BATCH):
        for name in columns:
            column = batch[name].combine_chunks()
            if hasattr(column, "flatten") and hasattr(column, "value_lengths"):
                digest.update(np.asarray(column.value_lengths(), dtype=np.int64).tobytes())
                column = column.flatten()
            digest.update(column.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


def _stream_fingerprint(stream: "Stream", tokenizer: Any, max_length: int) -> str:
    """Return a hash of a stream's first rows and of what makes tokens of them while it is read."""
    rows = list(itertools.islice(stream.pass_over(), STREAMED_ROWS))
    digest = hashlib.blake2b(json.dumps(rows, default=str).encode(), digest_size=8)
    digest.update(f"{tokenization.tokenizer_digest(tokenizer)} {max_length}".encode())
    return f"first {STREAMED_ROWS:,} rows, {digest.hexdigest()}"


def _weights(settings: Mapping[str, Any], config: "PretrainedConfig") -> str | None:
    """Return the commit of a model on the Hub, or the hash of a local one's weights, or None from scratch."""
    name = settings.get("model_name_or_path")
    if name is None or settings.get("from_scratch"):
        return None
    folder = Path(loading.resolve(name))
    return files.weights_digest(folder) if folder.is_dir() else getattr(config, "_commit_hash", None)


def _configuration(config: "PretrainedConfig") -> dict[str, Any]:
    plain = (str, int, float, bool)
    return {
        name: value
        for name, value in config.to_dict().items()
        if name not in CONFIG_NOT_COMPARED and isinstance(value, plain)
    }


def _flat(signature: RunSignature) -> dict[str, Any]:
    """Return every compared value under the name a user knows it by."""
    return {
        **signature["values"],
        "global batch": signature["batch_layout"]["global_batch"],
        **{f"labels' {name}": value for name, value in signature["labels"].items()},
        **{f"model's {name}": value for name, value in signature["model"].items()},
        **signature["rows"],
    }


def _shown(value: Any) -> str:
    if value in (None, [], {}):
        return "(none)"
    text = f"{value:g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _layout(layout: Mapping[str, int]) -> str:
    return (
        f"{layout['per_device_train_batch_size']} × {layout['gradient_accumulation_steps']} "
        f"on {layout['processes']} process{'es' * (layout['processes'] != 1)}"
    )
