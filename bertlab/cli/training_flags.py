"""A flag for every field of the installed TrainingArguments, read from its source text.

To import it takes 4 s, and `--help` or a misspelt flag should answer at once.
"""

import ast
import functools
import typing
from collections.abc import Iterable
from typing import Any

from bertlab.cli.arguments import Flag, Kind
from bertlab.errors import not_installed
from bertlab.io import package_folder

# Where our defaults differ from those of TrainingArguments; training.arguments decides what depends on data or machine.
TRAINING_DEFAULTS: dict[str, Any] = {
    "train_sampling_strategy": "group_by_length",
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "learning_rate": 2e-5,
    "logging_steps": 10,
    # A loss that is not a number must be seen, not replaced by the mean of those before it; that also spares a GPU
    # from being waited for at every step.
    "logging_nan_inf_filter": False,
    # Without it early stopping forgets its patience when a run is resumed.
    "restore_callback_states_from_checkpoint": True,
    "hub_strategy": "end",  # the finished model, with its card
    "save_strategy": "epoch",
    "save_total_limit": 1,
}
# The ranges TrainingArguments itself does not check, or checks only once training has begun: from and to, included.
_AT_LEAST_ONE = (
    *("per_device_eval_batch_size", "max_steps", "save_total_limit", "eval_accumulation_steps"),
    *("torch_empty_cache_steps", "dataloader_prefetch_factor", "ddp_timeout"),
)
_NOT_NEGATIVE = ("warmup_steps", "max_grad_norm", "eval_delay", "neftune_noise_alpha")
# Above them a value is a slip: a lost minus in 2e-5 would train to nonsense, or for weeks, or start too many processes.
_AT_MOST_ONE = ("learning_rate", "weight_decay", "adam_epsilon", "label_smoothing_factor")
TRAINING_LIMITS: dict[str, tuple[float, float | None]] = {
    **dict.fromkeys(_AT_LEAST_ONE, (1, None)),
    **dict.fromkeys(_NOT_NEGATIVE, (0, None)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), (0, 0.999999)),
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
    **dict.fromkeys(_AT_MOST_ONE, (0, 1)),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps"), (1, 2**16)),
    "num_train_epochs": (0, 10_000),
    "dataloader_num_workers": (0, 256),
}
# A step below 1 is a fraction of all steps.
TRAINING_ABOVE_ZERO = ("num_train_epochs", "logging_steps", "eval_steps", "save_steps")
TRAINING_UNSET: dict[str, float] = {"max_steps": -1}
# What TrainingArguments' own help says otherwise than it is here.
TRAINING_HELP = {
    "output_dir": "folder of the run (default: in runs/, called as its recipe, data set or file)",
    "metric_for_best_model": "what chooses the best epoch (default: the primary metric of the selection split)",
    "push_to_hub": "upload model, tokenizer, card and scores to --hub_model_id when the run ends",
}
# Choices that cannot be read from the source text of TrainingArguments.
_LOG_LEVELS = ("passive", "debug", "info", "warning", "error", "critical", "detail")
TRAINING_CHOICES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("log_level", "log_level_replica"), _LOG_LEVELS),
    "torch_compile_backend": ("inductor", "cudagraphs", "eager", "aot_eager", "onnxrt", "tensorrt", "tvm", "ipex"),
    "torch_compile_mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
}


@functools.cache
def training_flags() -> tuple[Flag, ...]:
    """Return a flag for every field of the installed transformers.TrainingArguments, without importing it.

    Raises:
        UserError: transformers is not installed.
    """
    folder = package_folder("transformers")
    if folder is None:
        raise not_installed("transformers")
    modules = [
        ast.parse((folder / name).read_text(encoding="utf-8")) for name in ("training_args.py", "trainer_utils.py")
    ]
    body = next(n.body for n in modules[0].body if isinstance(n, ast.ClassDef) and n.name == "TrainingArguments")
    enums = _enum_values(modules)
    fields = {ast.unparse(node.target): node for node in body if isinstance(node, ast.AnnAssign)}
    return tuple(_training_flag(name, node, enums) for name, node in fields.items() if name[0] != "_")


def default_of(flag: Flag) -> Any:
    """Return the value of a flag that nobody sets; what depends on data or machine is None."""
    return TRAINING_DEFAULTS.get(flag.name, flag.default) if flag.group == "training" else flag.default


def _training_flag(name: str, node: ast.AnnAssign, enums: dict[str, tuple[str, ...]]) -> Flag:
    parts = {part.strip() for part in ast.unparse(node.annotation).split("|")}
    keywords = {k.arg: k.value for k in node.value.keywords} if isinstance(node.value, ast.Call) else {}
    metadata = _literal(keywords.get("metadata")) or {}
    # TrainingArguments itself takes any other word than the choices in its metadata, too.
    choices = next((enums[part] for part in sorted(parts) if part in enums), tuple(metadata.get("choices", ())))
    minimum, maximum = TRAINING_LIMITS.get(name, (None, None))
    return Flag(
        name=name,
        kind=_kind_of_annotation(parts),
        many=any(part.startswith("list[") for part in parts),
        default=_literal(keywords.get("default")),
        help=TRAINING_HELP.get(name, " ".join(metadata.get("help", "").split())),
        choices=TRAINING_CHOICES.get(name, choices),
        minimum=minimum,
        maximum=maximum,
        group="training",
        above=0 if name in TRAINING_ABOVE_ZERO else None,
        unset=TRAINING_UNSET.get(name),
        is_json=any(part.startswith("dict") for part in parts),
    )


def _kind_of_annotation(parts: set[str]) -> Kind:
    # A field that takes a mapping or a file's name (lr_scheduler_kwargs, fsdp_config…) stays text: JSON or a path.
    if "str" in parts or any(part.startswith(("list[", "dict", "Parallelism")) for part in parts):
        return "str"
    return typing.cast(Kind, next((kind for kind in ("bool", "int", "float") if kind in parts), "str"))


def _enum_values(modules: Iterable[ast.Module]) -> dict[str, tuple[str, ...]]:
    """Return the string values of every ExplicitEnum class in the given modules."""
    classes = [node for module in modules for node in module.body if isinstance(node, ast.ClassDef)]
    return {
        node.name: tuple(_literal(item.value) for item in node.body if isinstance(item, ast.Assign))
        for node in classes
        if any(ast.unparse(base) == "ExplicitEnum" for base in node.bases)
    }


def _literal(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
