"""What a run was when it began, kept in each of its checkpoints, so that no other run goes on from them.

What the model sees is compared, not how it was said: a file may move and a flag may be spelt out, but no row, label,
weight or value that changes the outcome may differ.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments
from bertlab.cli.parser import Arguments
from bertlab.console import warning
from bertlab.data import files, tokenization
from bertlab.errors import UserError
from bertlab.models import loading
from bertlab.training.arguments import global_batch
from bertlab.training.checkpoints import SIGNATURE_FILE

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

    from bertlab.data.dataset import Data
    from bertlab.training.trainer import EncoderTrainer

# The fields of TrainingArguments that change the weights or which of them are kept. How long a run trains is among
# them: the schedule of the learning rate is stretched over it from the first step on. Evaluation is, too: it draws
# from the generator that dropout draws from.
RESUME_CRITICAL = (
    *("num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("max_grad_norm", "label_smoothing_factor", "neftune_noise_alpha", "average_tokens_across_devices"),
    *("bf16", "fp16", "seed", "data_seed", "train_sampling_strategy", "dataloader_drop_last", "ignore_data_skip"),
    *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start"),
    *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
)
# Of our own flags all are compared but those that say where things are, what is printed, or what the rows, the
# configuration and the weights show by themselves.
NOT_COMPARED = {
    ModelArguments: (
        *("model_name_or_path", "config_name", "tokenizer_name", "model_revision", "token", "cache_dir"),
        *("trust_remote_code", "use_fast_tokenizer", "ignore_mismatched_sizes"),
    ),
    RunArguments: (
        *("precision", "resume", "overwrite_output_dir", "metric_batch_size", "print_parameters", "print_config"),
        "lora_merge",
        *("published", "published_split", "published_source"),
    ),
}
# Of the flags that make rows of text, those that the rows do not show: how words are masked, how a stream is read.
OF_ROWS = {
    NspArguments: ("objective", "mlm_probability", "whole_word_masking"),
    DataArguments: ("streaming", "shuffle_buffer"),
}
# A stream may have no end: so many of its rows stand for all. What becomes of later ones is told by these flags.
STREAMED_ROWS = 1_000
OF_STREAM = ("max_train_samples", "on_missing", "clean", "label_map")
# What a configuration says of where it comes from, or what `labels` says better.
CONFIG_NOT_COMPARED = ("_name_or_path", "transformers_version", "architectures", "dtype")
SHOWN = 6
BATCH = 10_000

RunSignature = dict[str, Any]


def begin(
    trainer: "EncoderTrainer",
    checkpoint: Path | None,
    arguments: Arguments,
    data: "Data",
    tokenized: Mapping[str, "Dataset"],
) -> None:
    """Let a trainer sign its checkpoints with what this run is, and refuse the checkpoint of another run.

    Raises:
        UserError: the checkpoint comes from a run with other rows, labels, weights or values; each is named.
    """
    trainer.run_signature = run_signature(trainer, arguments, data, tokenized)
    if checkpoint is not None:
        refuse_other_run(checkpoint, trainer.run_signature)


def run_signature(
    trainer: "EncoderTrainer", arguments: Arguments, data: "Data", tokenized: Mapping[str, "Dataset"]
) -> RunSignature:
    """Return what a run must share with one that goes on from its checkpoints, as plain JSON values."""
    args = trainer.args
    given = args.to_dict()
    model: Any = trainer.model
    found = {
        "rows": {
            **{name: f"{len(split):,} rows, {fingerprint(split)}" for name, split in tokenized.items()},
            **({"stream": _of_stream(trainer, arguments, data)} if data.stream else {}),
        },
        "labels": {"kind": data.schema.kind, "classes": list(data.schema.class_names)},
        "model": {"weights": _weights(arguments, model.config), **_configuration(model.config)},
        "values": {**{name: given.get(name) for name in RESUME_CRITICAL}, **_own_values(arguments)},
        "cut": {
            "global_batch": global_batch(args),
            "per_device_train_batch_size": args.train_batch_size,
            "gradient_accumulation_steps": args.gradient_accumulation_steps,
            "processes": args.world_size,
        },
    }
    return json.loads(json.dumps(found, default=str))


def refuse_other_run(checkpoint: Path, now: RunSignature) -> None:
    """Refuse a checkpoint whose run was another; say so where only the cut of the batch is another.

    Raises:
        UserError: rows, labels, weights or values differ.
    """
    try:
        before = json.loads((checkpoint / SIGNATURE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        warning(f"{checkpoint} does not say what run it is from; that it is this one is taken on trust.")
        return
    found = differences(before, now)
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(
            f"{checkpoint} is from another run: {'; '.join(found[:SHOWN])}{more}.",
            "Take the change back, name another --output_dir, or begin anew with --overwrite_output_dir.",
        )
    if before.get("cut") != now["cut"]:
        warning(
            f"the global batch of {now['cut']['global_batch']} is cut otherwise than before ({_cut(before['cut'])}, "
            f"now {_cut(now['cut'])}): the rows of each step are the same, the noise of dropout is not."
        )


def differences(before: RunSignature, now: RunSignature) -> list[str]:
    """Return, in words, everything in which two runs differ that changes the outcome."""
    ours, theirs = _flat(now), _flat(before)
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [
        f"{name} {_shown(theirs.get(name))} → {_shown(ours.get(name))}"
        for name in names
        if theirs.get(name) != ours.get(name)
    ]


def fingerprint(split: "Dataset") -> str:
    """Return a hash of the token ids, segments and labels of an encoded split, in order."""
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


def _of_stream(trainer: "EncoderTrainer", arguments: Arguments, data: "Data") -> str:
    """Return a hash of a stream's first rows and of what makes tokens of them while it is read."""
    rows = itertools.islice(data.stream.pass_over(), STREAMED_ROWS) if data.stream else ()
    digest = hashlib.blake2b(json.dumps(list(rows), default=str).encode(), digest_size=8)
    tokenizer: Any = trainer.processing_class
    digest.update(f"{tokenization.tokenizer_digest(tokenizer)} {arguments[DataArguments].max_seq_length}".encode())
    return f"first {STREAMED_ROWS:,} rows, {digest.hexdigest()}"


def _weights(arguments: Arguments, config: "PretrainedConfig") -> str | None:
    """Return the commit of a model on the Hub, or the hash of a local one's weights, or None from scratch."""
    nsp = arguments.groups.get(NspArguments)
    name = arguments[ModelArguments].model_name_or_path
    if name is None or (nsp is not None and nsp.from_scratch):
        return None
    folder = Path(loading.resolve(name))
    if not folder.is_dir():
        return getattr(config, "_commit_hash", None)
    return files.weights_digest(folder)


def _configuration(config: "PretrainedConfig") -> dict[str, Any]:
    plain = (str, int, float, bool)
    return {
        name: value
        for name, value in config.to_dict().items()
        if name not in CONFIG_NOT_COMPARED and isinstance(value, plain)
    }


def _own_values(arguments: Arguments) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for group, left_out in NOT_COMPARED.items():
        values.update({k: v for k, v in dataclasses.asdict(arguments[group]).items() if k not in left_out})
    for group, names in OF_ROWS.items():
        if group in arguments.groups:
            values.update({name: getattr(arguments[group], name) for name in names})
    if DataArguments in arguments.groups and arguments[DataArguments].streaming:
        values.update({name: getattr(arguments[DataArguments], name) for name in OF_STREAM})
    return values


def _flat(found: RunSignature) -> dict[str, Any]:
    """Return every compared value under the name a user knows it by."""
    return {
        **found.get("values", {}),
        "global batch": found.get("cut", {}).get("global_batch"),
        **{f"labels' {name}": value for name, value in found.get("labels", {}).items()},
        **{f"model's {name}": value for name, value in found.get("model", {}).items()},
        **found.get("rows", {}),
    }


def _shown(value: Any) -> str:
    if value in (None, [], {}):
        return "(none)"
    text = f"{value:g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _cut(cut: Mapping[str, int]) -> str:
    return (
        f"{cut['per_device_train_batch_size']} × {cut['gradient_accumulation_steps']} "
        f"on {cut['processes']} process{'es' * (cut['processes'] != 1)}"
    )
