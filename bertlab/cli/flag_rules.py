"""What depends on flags alone: names of earlier versions, and flags that need others or do not go with them."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from bertlab.cli.arguments import DataArguments, Flag, Occurrence, RunArguments
from bertlab.cli.training_flags import default_of
from bertlab.cli.values import BOOLEANS, boolean, number
from bertlab.console import info, warning
from bertlab.errors import UserError

ALIASES = {
    "task_name": "task",
    "max_length": "max_seq_length",
    "use_auth_token": "token",
    "recipe": "config",
    # In Hugging Face's scripts these work as abbreviations.
    "text_column_name": "text_column_names",
    "text_column": "text_column_names",
    "label_column": "label_column_name",
    "num_warmup_steps": "warmup_steps",
    "max_train_steps": "max_steps",
}
# What other programs call a flag of ours; the hint for an unknown flag names it.
NAMES_ELSEWHERE = {
    **dict.fromkeys(("lr", "lrate"), "learning_rate"),
    **dict.fromkeys(("batch_size", "train_batch_size", "bs"), "per_device_train_batch_size"),
    "eval_batch_size": "per_device_eval_batch_size",
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs", "max_epochs"), "num_train_epochs"),
    **dict.fromkeys(("max_len", "max_sequence_length", "sequence_length"), "max_seq_length"),
    **dict.fromkeys(("model", "model_name", "pretrained_model_name_or_path", "bert_model"), "model_name_or_path"),
    **dict.fromkeys(("dev_file", "eval_file", "valid_file"), "validation_file"),
    **dict.fromkeys(("warmup", "warmup_proportion"), "warmup_steps"),
    **dict.fromkeys(("validation_split", "val_split", "test_size", "val_size"), "validation_fraction"),
    **dict.fromkeys(("data", "csv", "data_file", "train_data"), "train_file"),
    **dict.fromkeys(("output", "out", "save_dir"), "output_dir"),
    **dict.fromkeys(("text_col",), "text_column_names"),
    **dict.fromkeys(("label_col", "target_column"), "label_column_name"),
    **dict.fromkeys(("metric", "metrics"), "metric_name"),
    "patience": "early_stopping_patience",
    "evaluate_during_training": "eval_strategy",
    "output_mode": "problem_type",
    "sep": "delimiter",
    "train_file": "text",  # of the other script
    "text": "train_file",
}

# What other programs have a flag for, and what does it here.
NEEDLESS = {
    **dict.fromkeys(("num_labels", "num_classes", "n_classes"), "classes are counted in the data"),
    "do_lower_case": "the tokenizer knows its case",
    **dict.fromkeys(("n_gpu", "gpus", "num_gpus"), "`accelerate launch` takes every GPU"),
}

# Names that transformers 4 had and version 5 refuses, and the name today.
RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "no_cuda": "use_cpu",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_token": "hub_token",
    "torchdynamo": "torch_compile_backend",
}
WARMUP_RATIO = Flag("warmup_ratio", "float", help="share of all steps, below 1")
PERCENTAGE = Flag("validation_split_percentage", "float", help="percentage of train", minimum=1, maximum=90)
# Former switches that are one value of a flag today: (flag, value when true, value when false).
SWITCHES: dict[str, tuple[str, str, str | None]] = {
    "group_by_length": ("train_sampling_strategy", "group_by_length", "random"),
    "adafactor": ("optim", "adafactor", None),
    "include_tokens_per_second": ("include_num_input_tokens_seen", "all", None),
}
OF_PRECISION = ("fp16_backend", "half_precision_backend", "fp16_opt_level")
# Names that have no effect any more.
RETIRED = {
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR to move TensorBoard's files",
    "save_safetensors": "weights are always saved as safetensors",
    **dict.fromkeys(OF_PRECISION, "mixed precision is chosen with --precision"),
    "use_mps_device": "an Apple GPU is used where there is one",
    "jit_mode_eval": "TorchScript evaluation left transformers; see --torch_compile",
    "use_ipex": "the Intel extension left transformers; --precision auto uses what the CPU has",
    "tpu_num_cores": "accelerate launch decides the number of processes",
    "past_index": "encoders keep no past state",
    "mp_parameters": "SageMaker model parallelism left transformers",
    "include_inputs_for_metrics": "no metric here reads the inputs",
    "ray_scope": "bertlab sweep searches values",
}


class Rule(NamedTuple):
    """Flags that each require one of the others, conflict with all of them, or are not supported; why; what to do.

    Flags stand as they are typed. One with values counts as given at these values; one without wherever its value is
    not its default and not false, 0 or empty. A rule holds for a script that has all of its flags.
    """

    flags: str
    verb: Literal["requires", "conflicts with", "is not supported"]
    others: str
    why: str
    hint: str = ""


# Two ways to say one thing: that of a later place (a flag after a recipe) holds, and no place has both.
PER_DEVICE = "per_device_train_batch_size"
EITHER = {PER_DEVICE: "global_batch_size", "global_batch_size": PER_DEVICE}

# Only run_nsp.py has --objective.
NSP, MLM = "--objective nsp mlm nsp+mlm", "--objective mlm nsp+mlm"
NEEDS_ALL_ROWS = "--validation_fraction --selection_fraction --test_fraction --shuffle_train_dataset"
OF_LORA = "--lora_alpha --lora_dropout --lora_target_modules --lora_merge"
OF_BATCHES = "--batch_eval_metrics --eval_do_concat_batches false"
OF_CLASSIFICATION = ("class_weights", "classifier_dropout", "hub_benchmark_task")
CLASSIFICATION_ALONE = " ".join(f"--{name}" for name in OF_CLASSIFICATION)
OF_CLASSES = "--class_names --label_map --positive_label"
REGRESSION, SINGLE = "--do_regression --problem_type regression", "--problem_type single_label_classification"
OF_A_CHECKPOINT = "--freeze_encoder --freeze_embeddings --reinit_layers --new_head --lora_rank"
TOKENIZERS = "--train_tokenizer --tokenizer_name --model_name_or_path"
NO_WAIT = "Pass --early_stopping_patience 0, or add --selection_fraction 0.1."
NO_WARM_UP = "--lr_scheduler_type constant reduce_lr_on_plateau greedy"
CHECKPOINTING, CHECKPOINTING_KWARGS = (
    f"--activation_checkpointing{end} --gradient_checkpointing{end}" for end in ("", "_kwargs")
)
CONSTANT_OR_NONE = "Pass --warmup_steps 0, or --lr_scheduler_type constant_with_warmup."
HOLD_OUT = "Add --selection_fraction 0.1."
IN_A_CHECKPOINT = "a checkpoint names paths of this machine, and --resume reads folders alone"
RULES = (
    Rule("--prediction_loss_only", "is not supported", "", "scores need the predictions"),
    Rule(OF_BATCHES, "is not supported", "", "scores are of whole splits, not of batches"),
    Rule("--include_for_metrics", "is not supported", "", "metrics read predictions and labels alone"),
    Rule("--enable_jit_checkpoint", "is not supported", "", "a run that is stopped saves by itself", "See --resume."),
    Rule("--label_names", "is not supported", "", "the label of a row is called `labels`"),
    Rule("--length_column_name", "is not supported", "", "lengths are counted here, whatever columns there are"),
    Rule("--use_liger_kernel --liger_kernel_config", "is not supported", "", "Liger has no kernels for encoders"),
    Rule("--parallelism_config", "is not supported", "", "an encoder fits on one device", "See --fsdp to shard one."),
    Rule("--hub_strategy checkpoint all_checkpoints", "is not supported", "", IN_A_CHECKPOINT, "Choose every_save."),
    Rule("--hub_always_push", "is not supported", "", "each upload is waited for"),
    Rule("--hub_benchmark_task", "requires", "--dataset_name", "benchmarks are data sets of the Hub"),
    Rule("--hub_benchmark_task --push_run_files_to_hub", "requires", "--push_to_hub", "nothing is uploaded"),
    Rule("--push_to_hub", "conflicts with", "--do_train false", "no model is trained that could be uploaded"),
    Rule("--auto_find_batch_size", "is not supported", "", "it restarts a run midway", "Pass a smaller batch."),
    Rule("--do_train false", "requires", "--do_eval --do_predict", "there is nothing to do"),
    Rule("--bf16", "conflicts with", "--fp16 --precision fp32 fp16", "a run has one precision"),
    Rule("--fp16", "conflicts with", "--precision fp32 bf16", "a run has one precision"),
    Rule("--resume", "conflicts with", "--overwrite_output_dir", "one continues what the other deletes"),
    Rule("--dataloader_drop_last", "conflicts with", "--gradient_accumulation_steps", "it drops parts of a step"),
    Rule("--dataloader_prefetch_factor", "requires", "--dataloader_num_workers", "there are no workers"),
    Rule("--dataloader_persistent_workers", "requires", "--dataloader_num_workers", "there are no workers"),
    Rule("--dataloader_multiprocessing_context", "requires", "--dataloader_num_workers", "there are no workers"),
    Rule(
        CHECKPOINTING_KWARGS, "requires", CHECKPOINTING, "nothing is computed again", "Add --activation_checkpointing."
    ),
    Rule("--early_stopping_threshold", "requires", "--early_stopping_patience", "nothing stops early"),
    Rule("--early_stopping_patience", "requires", "--selection_fraction", "evaluation splits must not decide", NO_WAIT),
    Rule("--warmup_steps", "conflicts with", NO_WARM_UP, "that schedule has no warm-up", CONSTANT_OR_NONE),
    Rule("--threshold", "requires", "--selection_fraction", "evaluation splits must not decide", HOLD_OUT),
    Rule("--threshold", "conflicts with", MLM, "it is of two classes", "Leave it out."),
    Rule("--selection_fraction", "conflicts with", "--save_strategy no", "the best epoch must be saved to be chosen"),
    Rule("--freeze_encoder", "conflicts with", "--reinit_layers", "the new layers would stay random"),
    Rule("--freeze_encoder", "conflicts with", "--layerwise_lr_decay", "only the head trains"),
    Rule("--lora_rank", "conflicts with", "--freeze_encoder", "LoRA trains the layers of the encoder"),
    Rule("--lora_rank", "conflicts with", "--reinit_layers", "LoRA freezes layers, so new ones would stay random"),
    Rule(OF_LORA, "requires", "--lora_rank", "there is no adapter", "Add --lora_rank 8."),
    Rule("--do_regression", "requires", "--problem_type auto regression", "both name the kind of label"),
    Rule(OF_CLASSES, "conflicts with", REGRESSION, "regression takes numbers as they are"),
    Rule("--label_delimiter", "conflicts with", f"{REGRESSION} {SINGLE}", "it separates several labels of a row"),
    Rule("--shuffle_buffer", "requires", "--streaming", "only a stream has a buffer"),
    Rule("--streaming", "requires", "--max_steps", "a stream has no known length", "Add --max_steps 1000."),
    Rule("--streaming", "conflicts with", NEEDS_ALL_ROWS, "a stream is read once", "Name files of held-out rows."),
    Rule("--streaming", "conflicts with", "--class_weights", "labels are counted before training"),
    Rule("--streaming", "conflicts with", "--dataloader_num_workers", "each worker would read every row"),
    Rule("--streaming", "conflicts with", "--train_sampling_strategy batch_rebalance", "it needs all lengths"),
    Rule(CLASSIFICATION_ALONE, "conflicts with", NSP, "it is for classification", "Leave it out."),
    Rule("--label_smoothing_factor", "conflicts with", MLM, "masked language modeling has none", "Leave it out."),
    Rule("--from_scratch false", "requires", "--model_name_or_path", "no model is named", "Or pass --from_scratch."),
    Rule("--from_scratch", "requires", TOKENIZERS, "it needs a tokenizer", "Pass --train_tokenizer 8000."),
    Rule("--from_scratch", "conflicts with", OF_A_CHECKPOINT, "all weights are random"),
    Rule("--from_scratch", "conflicts with", "--config_name", "it is not read", "Pass its values with --model_config."),
    Rule("--model_config --train_tokenizer", "requires", "--from_scratch", "a checkpoint has its own"),
    Rule("--train_tokenizer", "conflicts with", "--tokenizer_name", "a run has one tokenizer"),
    Rule("--whole_word_masking --mlm_probability", "requires", MLM, "nothing is masked"),
    Rule("--short_seq_probability", "requires", "--pairs segments --objective mlm", "others are not packed"),
    Rule(
        "--pairs one_per_document",
        "conflicts with",
        "--negatives same_document",
        "those need two pairs of a document",
        "Pass --pairs all.",
    ),
    Rule("--language", "requires", "--sentence_splitter sentencex", "other splitters know no languages"),
)


def check_rules(rules: Sequence[Rule], flags: Mapping[str, Flag], values: Mapping[str, Any]) -> None:
    """Raise UserError for the first flag that requires another, conflicts with another, or is not supported."""
    for rule in rules:
        if all(name in flags for name, _ in rule_flags(f"{rule.flags} {rule.others}")):
            for flag in _given(rule.flags, flags, values):
                _check_rule(rule, flag, _given(rule.others, flags, values))


def _check_rule(rule: Rule, flag: str, given: Sequence[str]) -> None:
    if rule.verb == "is not supported":
        raise UserError(f"{flag} is not supported: {rule.why}.", rule.hint or "Leave it out.")
    if rule.verb == "conflicts with" and given:
        raise UserError(f"{flag} conflicts with {given[0]}: {rule.why}.", rule.hint or "Leave one of them out.")
    if rule.verb == "requires" and not given:
        other = " or ".join(" ".join([f"--{name}", " or ".join(at)]).strip() for name, at in rule_flags(rule.others))
        raise UserError(f"{flag} requires {other}: {rule.why}.", rule.hint or f"Add {other}, or leave {flag} out.")


def _given(typed: str, flags: Mapping[str, Flag], values: Mapping[str, Any]) -> list[str]:
    """Return those of a rule's flags that count as given, as they would be typed."""
    given = []
    for name, at in rule_flags(typed):
        default = default_of(flags[name])
        value = values.get(name, default)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if text in at or (not at and value and value != default):
            given.append(f"--{name} {text}" if at else f"--{name}")
    return given


def rule_flags(typed: str) -> list[tuple[str, list[str]]]:
    """Return each flag of a rule with the values at which it counts as given."""
    return [(name, values.split()) for name, values in re.findall(r"--(\w+)((?: (?!--)\S+)*)", typed)]


# Flags that no run takes, or only with their default; help leaves them out.
_UNSUPPORTED = (part for rule in RULES if rule.verb == "is not supported" for part in rule_flags(rule.flags))
REFUSED = frozenset(name for name, values in _UNSUPPORTED if values in ([], ["false"]))

# What says where the data comes from, and what says how that is read, which another source does not ask for.
FILES = ("train_file", "validation_file", "test_file")
FOLDER = ("data_dir", "data_layout")
DATASET = ("dataset_name", "dataset_config_name")
COLUMNS = ("text_column_names", "text_column_delimiter", "label_column_name", "source_column_name", "remove_columns")
TABLE = ("delimiter", "quoting", "column_names")
NOT_READ_WITH = {
    FILES: (*FOLDER, *DATASET),
    FOLDER[:1]: (*DATASET, *COLUMNS, *TABLE),
    DATASET[:1]: ("data_layout", *TABLE, "encoding"),
}


def refuse_unread(data: DataArguments, typed: Sequence[Occurrence]) -> None:
    """Raise UserError for a typed flag that the source of the data does not read; a recipe may know several sources."""
    source, unread = next(
        ((name, flags) for names, flags in NOT_READ_WITH.items() for name in names if getattr(data, name)), ("", ())
    )
    ignored = next((part for part in typed if part.name in unread), None)
    if ignored is not None:
        raise UserError(
            f"{ignored.where} would be ignored: the data is that of --{source} {getattr(data, source)}.",
            "Leave one of the two out.",
        )


def leave_out_scores_of_other_data(data: DataArguments, run: RunArguments, typed: Sequence[Occurrence]) -> None:
    """Leave out a recipe's published scores where files are read in place of the data set that it names."""
    file = next((getattr(data, name) for name in FILES if getattr(data, name)), None)
    if run.published and data.dataset_name and file and not any(part.name == "published" for part in typed):
        info(f"the published scores are of {data.dataset_name} and not of {file}; they are left out.")
        run.published, run.published_split, run.published_source = {}, None, None


def divide_global_batch(run: RunArguments, training: dict[str, Any], typed: Sequence[Occurrence]) -> None:
    """Give each process its share of --global_batch_size; without it warn of processes that multiply a recipe's batch.

    Raises:
        UserError: it cannot be divided.
    """
    processes, steps = int(os.environ.get("WORLD_SIZE", "1")), training.get("gradient_accumulation_steps") or 1
    own, total, parts = training[PER_DEVICE] * steps, run.global_batch_size, processes * steps
    if total is None:
        if processes > 1 and training["do_train"] and not any(part.name == PER_DEVICE for part in typed):
            nearest = max(1, own // parts) * parts
            warning(
                f"each of {processes} processes has a batch of {own}, which makes a global batch of {own * processes}. "
                f"--global_batch_size {nearest} {'keeps' if nearest == own else 'is nearest to'} that of one process; "
                f"--{PER_DEVICE} {training[PER_DEVICE]} takes the larger one without this warning."
            )
    elif total % parts:
        below = total // parts * parts
        raise UserError(
            f"--global_batch_size {total} cannot be divided by {processes} × {steps} (processes × accumulation steps).",
            f"Pass {below} or {below + parts}." if below else f"Pass {parts}.",
        )
    else:
        training[PER_DEVICE] = total // parts


def current_name(name: str) -> str:
    """Return the name today of a flag that was typed by an alias, a former name, or as --no_NAME."""
    name = ALIASES.get(name, name)
    name = SWITCHES[name][0] if name in SWITCHES else RENAMED.get(name, name)
    return name.removeprefix("no_")


def translate(part: Occurrence) -> list[Occurrence]:
    """Return what a former name stands for today, with a message; other names pass unchanged.

    Raises:
        UserError: the value is not one that the former name took, or has no meaning today.
    """
    name, values, where = ALIASES.get(part.name, part.name), part.values, part.where
    if name in RETIRED:
        if name == "save_safetensors" and values and not boolean(values[0], where):
            raise UserError(f"{where} false: weights are only ever saved as safetensors.", "Leave the flag out.")
        warning(f"{where} has no effect since transformers 5: {RETIRED[name]}.")
        return []
    meant = _meant(name, values, where)
    if meant is None:
        return [replace(part, name=name)]
    typed = " ".join(" ".join([f"--{flag}", *given]) for flag, given in meant.items())
    info(f"{where} is read as {typed}." if typed else f"{where} is the default here.")
    return [replace(part, name=flag, values=given) for flag, given in meant.items()]


def _meant(name: str, values: list[str], where: str) -> dict[str, list[str]] | None:
    """Return the flags of today, with their values, that a former name stands for; None for a name of today."""
    first = values[0] if values else "true"
    if name == "resume_from_checkpoint":  # Trainer's own: true for the newest checkpoint, or a path
        on = BOOLEANS.get(first.lower())
        return {} if on is False else {"resume": ["must"] if on else values}
    if name == "validation_split_percentage":  # of Hugging Face's language modeling scripts
        return {"validation_fraction": [f"{number(PERCENTAGE, first, where) / 100:g}"]}
    if name == "checkpointing_steps":  # of their scripts without Trainer: a number, or "epoch"
        return {"save_strategy": ["steps"], "save_steps": values} if first.isdecimal() else {"save_strategy": [first]}
    if name == "warmup_ratio" and number(WARMUP_RATIO, first, where) >= 1:
        raise UserError(f"{where}: {first} would be a number of steps.", "Write --warmup_steps for steps.")
    if name in SWITCHES:
        flag, when_true, when_false = SWITCHES[name]
        value = when_true if boolean(first, where) else when_false
        return {flag: [value]} if value else {}
    return {RENAMED[name]: values} if name in RENAMED else None
