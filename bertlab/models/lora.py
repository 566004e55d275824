"""LoRA (Hu et al. 2021) through peft: which modules get an adapter, and how a folder with one becomes a model again.

A run's folder holds what peft writes (adapter_model.safetensors, adapter_config.json), and in base_config/ the
configuration of the whole model, label names included. There is no config.json next to the adapter: transformers
would take the folder for a whole model and miss its weights.
"""

import copy
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertlab import hub
from bertlab.cli.arguments import ModelArguments, RunArguments
from bertlab.console import quiet_transformers
from bertlab.data.files import weights_digest
from bertlab.errors import UserError, did_you_mean
from bertlab.io import package_folder, read_json, write_json
from bertlab.models import parts

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors")
BASE_CONFIG = "base_config"
# What is needed of a repository with an adapter.
UPLOADED = [*ADAPTER_FILES, f"{BASE_CONFIG}/*", "*.json", "*.txt", "*.model"]
# In base_config/: the base model's name as the user wrote it, and the digest of its weights if it is a folder.
BASE_MODEL = "base_model.json"


def import_peft() -> Any:
    """Return the module peft.

    Raises:
        UserError: it is not installed.
    """
    _refuse_missing_peft()
    return import_module("peft")


def _refuse_missing_peft() -> None:
    if package_folder("peft") is None:
        raise UserError("LoRA needs the package peft, which is not installed.", "pip install peft")


def is_adapter(folder: str | Path) -> bool:
    """Return True for a folder that holds an adapter and no whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file() and not (Path(folder) / "config.json").is_file()


def at_hand(arguments: ModelArguments) -> ModelArguments:
    """Return the arguments with the folder of an adapter that is on the Hub, downloaded, in place of its name."""
    from huggingface_hub import snapshot_download
    from transformers.utils.peft_utils import find_adapter_config_file

    name = arguments.model_name_or_path or ""
    where: dict[str, Any] = {"revision": arguments.model_revision, "token": arguments.token}
    where["cache_dir"] = arguments.cache_dir
    with suppress(OSError):  # a name that is unknown is explained where the configuration is loaded
        if not hub.is_local(name) and find_adapter_config_file(name, **where):
            return replace(arguments, model_name_or_path=snapshot_download(name, **where, allow_patterns=UPLOADED))
    return arguments


def refuse_adapter_on_adapter(model: ModelArguments, run: RunArguments) -> None:
    """Refuse --lora_rank on a model that is an adapter, unless the result is merged; and without peft.

    Raises:
        UserError: so it is.
    """
    if model.lora_rank is None:
        return
    _refuse_missing_peft()
    name = model.model_name_or_path or ""
    if is_adapter(Path(name).expanduser()) and not run.lora_merge:
        raise UserError(
            f"--lora_rank: {name} is an adapter, and an adapter on an adapter cannot be loaded again.",
            "Add --lora_merge.",
        )


def has_adapter(model: Any) -> bool:
    """Return True for a model that trains an adapter."""
    return hasattr(model, "get_base_model")


def add_adapter(model: "PreTrainedModel", arguments: ModelArguments) -> Any:
    """Return peft's wrapper of a model: adapters in its frozen linear modules; pooler and head train in full.

    All linear modules rather than query and value alone, unless flags name some: Dettmers et al. 2023 (QLoRA).

    Raises:
        UserError: the model has no such linear module, or none at all.
    """
    peft = import_peft()
    _refuse_unknown_modules(model, arguments.lora_target_modules)
    rank = arguments.lora_rank or 0
    shared = {id(value) for value in parts.encoder(model).parameters()}
    head = [part for module in parts.head(model) for part in parts.unshared_modules(module, shared)]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=arguments.lora_alpha or 2 * rank,
        lora_dropout=arguments.lora_dropout,
        target_modules=arguments.lora_target_modules or "all-linear",
        modules_to_save=[parts.module_name(model, module) for module in (*parts.poolers(model), *head)],
        task_type="SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else None,
        revision=arguments.model_revision,
    )
    base: dict[str, Any] = {"name": arguments.model_name_or_path}
    folder = Path(model.name_or_path or "").resolve()
    if is_adapter(folder):
        model.name_or_path = ""
    elif model.name_or_path and folder.is_dir():
        model.name_or_path, base["weights"] = str(folder), weights_digest(folder)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # transformers' for peft, not for users
            wrapped = peft.get_peft_model(model, config)  # keeps name_or_path in adapter_config.json
    except ValueError as error:
        kind = model.config.model_type
        raise UserError(f"--lora_rank: peft finds no modules to adapt in {kind} models.", "Leave it out.") from error
    wrapped.base = base
    return wrapped


def _refuse_unknown_modules(model: "PreTrainedModel", names: list[str]) -> None:
    from torch import nn

    modules = parts.encoder(model).named_modules()
    linear = dict.fromkeys(name.rpartition(".")[2] for name, module in modules if isinstance(module, nn.Linear))
    for name in names:
        if name not in linear:  # peft passes over it if another name fits
            raise UserError(
                f"--lora_target_modules: the model has no linear module {name!r}.", did_you_mean(name, linear)
            )


def missing_encoder_weights(model: "PreTrainedModel", new: list[str]) -> list[str]:
    """Return those of the new weights that belong to the encoder; a checkpoint may well lack its pooler."""
    return [key for key in new if key.startswith(f"{model.base_model_prefix}.") and parts.POOLER not in key]


def refuse_missing_weights(model: "PreTrainedModel", new: list[str], name: str) -> None:
    """Refuse a checkpoint that lacks a part of the encoder: it would stay random, and no adapter file has it.

    Raises:
        UserError: it does.
    """
    missing = missing_encoder_weights(model, new)
    if missing:
        raise UserError(
            f"--lora_rank: {name} lacks {', '.join(missing[:3])}, which would stay random.", "Leave --lora_rank out."
        )


def save_base_config(model: Any, folder: Path) -> None:
    """Write next to an adapter the configuration of the whole model, and which model the adapter belongs to."""
    whole = model.get_base_model()
    whole.config.architectures = [type(whole).__name__]
    whole.config.save_pretrained(folder / BASE_CONFIG)
    write_json(folder / BASE_CONFIG / BASE_MODEL, model.base)


def save_merged(model: Any, folder: Path) -> None:
    """Write an ordinary model, the adapter added to its weights, in place of the adapter; `model` stays as it is."""
    with quiet_transformers():
        copy.deepcopy(model).merge_and_unload().save_pretrained(folder)
    for name in ADAPTER_FILES:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / BASE_CONFIG, ignore_errors=True)


def load_base_config(folder: Path) -> "PretrainedConfig":
    """Return the configuration of the whole model whose adapter is in a folder.

    Raises:
        UserError: the folder holds an adapter that was not made here.
    """
    from transformers import AutoConfig

    if not (folder / BASE_CONFIG / "config.json").is_file():
        raise UserError(
            f"{folder} holds an adapter without {BASE_CONFIG}/, which a run here writes.",
            "Merge it into its model with peft's merge_and_unload and name the folder of that.",
        )
    config: PretrainedConfig = AutoConfig.from_pretrained(folder / BASE_CONFIG)
    return config


def load_merged(folder: Path, resolve: Callable[[str], str], options: dict[str, Any]) -> "PreTrainedModel":
    """Return the whole model whose adapter is in a folder, adapter added, in float32.

    `resolve` makes a folder of a name like package:IMPORT_NAME/path; `options` are the Hub's. peft's AutoPeftModel
    would give the head the labels of the base model, and has no class for next-sentence prediction.

    Raises:
        UserError: peft is missing, or the model that the adapter belongs to, or that model's weights have changed.
    """
    import torch
    import transformers

    from bertlab.models import segment_cosine

    peft = import_peft()
    config: Any = load_base_config(folder)
    adapter = peft.PeftConfig.from_pretrained(str(folder))
    name = config.architectures[0]
    module: Any = segment_cosine if hasattr(segment_cosine, name) else transformers
    model = getattr(module, name).from_pretrained(
        _find_base(folder, adapter.base_model_name_or_path or "", resolve),
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # the head comes with the adapter
        **{**options, "revision": adapter.revision or "main"},
    )
    merged: PreTrainedModel = peft.PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    return merged


def _find_base(folder: Path, recorded: str, resolve: Callable[[str], str]) -> str:
    """Return the base model's recorded folder, or where its name leads today; refuse one whose weights have changed."""
    path = folder / BASE_CONFIG / BASE_MODEL
    base = read_json(path) if path.is_file() else {}
    name = base.get("name") or recorded
    base_path = recorded if recorded and Path(recorded).is_dir() else resolve(name)
    if ("weights" in base or Path(base_path).is_absolute()) and not Path(base_path).is_dir():
        raise UserError(
            f"{folder} is an adapter on {recorded or name}, which is not there.",
            "Put that model back, or train with --lora_merge.",
        )
    if "weights" in base and weights_digest(Path(base_path)) != base["weights"]:
        raise UserError(
            f"{folder} is an adapter on {base_path}, whose weights have changed since it was trained.",
            "Put the old weights back, or train again, with --lora_merge for a run that needs no other model.",
        )
    return base_path
