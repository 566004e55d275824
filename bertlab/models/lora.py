"""LoRA (Hu et al. 2021) through peft: small matrices beside frozen ones; how they are made, saved, found and merged.

A folder with an adapter holds what PEFT writes (adapter_model.safetensors, adapter_config.json), and in base_config/
the configuration of the whole model, label names included. There is no config.json beside the adapter: transformers
would take the folder for a whole model and miss its weights.
"""

import json
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import ModelArguments
from bertlab.data.files import weights_digest
from bertlab.errors import UserError, did_you_mean
from bertlab.io import package_folder
from bertlab.models import parts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FLAG = "--lora_rank"
ADAPTER = "default"  # the name that peft gives the only adapter of a model
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors")
BASE_CONFIG = "base_config"
# Where the configuration in base_config/ keeps the base model's name as the user wrote it.
BASE_NAME = "base_model_name"
# And the digest of its weights, where it is a folder: another model may lie there later.
BASE_WEIGHTS = "base_model_weights"


def require() -> Any:
    """Return the module peft.

    Raises:
        UserError: it is not installed.
    """
    if package_folder("peft") is None:
        raise UserError("LoRA needs the package peft, which is not installed.", "pip install peft")
    return import_module("peft")


def is_adapter(folder: str | Path) -> bool:
    """Return True for a folder that holds an adapter and no whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file() and not (Path(folder) / "config.json").is_file()


def check(name: str, merge: bool) -> None:
    """Refuse an adapter where peft is missing, or on a model that is itself an adapter and is not to be merged.

    Raises:
        UserError: so it is.
    """
    require()
    if is_adapter(Path(name).expanduser()) and not merge:
        raise UserError(
            f"{FLAG}: {name} is an adapter, and an adapter on an adapter cannot be found again.", "Add --lora_merge."
        )


def is_adapted(model: Any) -> bool:
    """Return True for a model that trains an adapter."""
    return hasattr(model, "get_base_model")


def attach(model: "PreTrainedModel", arguments: ModelArguments) -> Any:
    """Return the model wrapped by PEFT: its layers frozen, adapters of --lora_rank in them; pooler and head train.

    Raises:
        UserError: the layers have no such linear maps.
    """
    peft = require()
    name = arguments.model_name_or_path or ""
    shared = {id(value) for value in parts.encoder(model).parameters()}
    head = [part for module in parts.head(model) for part in parts.own(module, shared)]
    rank = arguments.lora_rank or 0
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=arguments.lora_alpha or 2 * rank,
        lora_dropout=arguments.lora_dropout,
        target_modules=_targets(model, arguments.lora_target_modules),
        modules_to_save=[parts.name_of(model, module) for module in (*parts.poolers(model), *head)],
        task_type="SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else None,
        revision=arguments.model_revision,
    )
    setattr(model.config, BASE_NAME, name)
    wrapped = peft.get_peft_model(model, config)
    source = model.name_or_path or ""
    source = "" if is_adapter(source) else source
    if source and Path(source).is_dir():
        setattr(model.config, BASE_WEIGHTS, weights_digest(Path(source)))
        source = str(Path(source).resolve())
    config.base_model_name_or_path = source
    return wrapped


def refuse_missing(model: "PreTrainedModel", new: list[str], name: str) -> None:
    """Refuse a checkpoint that lacks a part of the encoder: it would stay random, and no adapter file has it.

    Raises:
        UserError: it does.
    """
    missing = [key for key in new if key.startswith(f"{model.base_model_prefix}.") and parts.POOLER not in key]
    if missing:
        raise UserError(
            f"{FLAG}: {name} lacks {', '.join(missing[:3])}, which would stay random.", "Leave --lora_rank out."
        )


def _targets(model: "PreTrainedModel", asked: list[str]) -> str:
    """Return the pattern of the linear maps to adapt: those in the layers that are asked for, or all of them.

    All linear maps rather than query and value alone: Dettmers et al. 2023 (QLoRA).
    """
    from torch import nn

    stack = parts.layers(model, FLAG)
    linear = [name for name, module in stack.named_modules() if isinstance(module, nn.Linear)]
    known = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    for name in asked:
        if name not in known:
            raise UserError(
                f"--lora_target_modules: the layers have no linear map {name!r}.", did_you_mean(name, known)
            )
    return rf"{re.escape(parts.name_of(model, stack))}\.\d+\.(.*\.)?({'|'.join(asked or known)})"


def save_config(model: Any, folder: Path) -> None:
    """Write beside an adapter the configuration of the whole model."""
    whole = parts.plain(model)
    whole.config.architectures = [type(whole).__name__]
    whole.config.save_pretrained(folder / BASE_CONFIG)


def save_merged(model: Any, folder: Path) -> None:
    """Write an ordinary model with the adapter added to its weights; what an adapter left in the folder goes."""
    whole = parts.plain(model)
    config = type(whole.config).from_dict(whole.config.to_dict())
    _forget_base(config)
    type(whole).from_pretrained(None, config=config, state_dict=merged_weights(model)).save_pretrained(folder)
    for name in ADAPTER_FILES:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / BASE_CONFIG, ignore_errors=True)


def merged_weights(model: Any) -> "dict[str, torch.Tensor]":
    """Return the weights of the whole model, adapter added, by their names without PEFT; the model stays as it is."""
    from peft.tuners.lora import Linear

    whole = parts.plain(model)
    found = {}
    for name, value in whole.state_dict().items():
        if ".lora_" not in name and ".original_module." not in name:
            found[name.replace(".base_layer.", ".").replace(f".modules_to_save.{ADAPTER}.", ".")] = value
    for name, module in whole.named_modules():
        if isinstance(module, Linear):
            weight = f"{name}.weight"
            found[weight] = found[weight] + module.get_delta_weight(ADAPTER)
    return found


def load_config(folder: Path) -> Any:
    """Return the configuration of the whole model whose adapter lies in a folder.

    Raises:
        UserError: the folder holds an adapter that was not made here.
    """
    from transformers import AutoConfig

    if not (folder / BASE_CONFIG / "config.json").is_file():
        raise UserError(
            f"{folder} holds an adapter without {BASE_CONFIG}/, which a run here writes.",
            "Merge it into its model with peft's merge_and_unload and name the folder of that.",
        )
    config = AutoConfig.from_pretrained(folder / BASE_CONFIG)
    _forget_base(config)
    return config


def load_weights(folder: Path, find: Callable[[str], str], options: dict[str, Any]) -> "dict[str, torch.Tensor]":
    """Return the weights of the whole model whose adapter lies in a folder, adapter added.

    `find` makes a folder of a name like package:IMPORT_NAME/path; `options` are the Hub's.

    Raises:
        UserError: peft is missing, or the model that the adapter belongs to, or its weights are others by now.
    """
    import torch
    import transformers

    peft = require()
    config = load_config(folder)
    adapter = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    base = _base_of(folder, adapter, find)
    _refuse_other_weights(folder, Path(base))
    model = getattr(transformers, config.architectures[0]).from_pretrained(
        base,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # the head comes with the adapter
        **{**options, "revision": adapter.get("revision") or "main"},
    )
    return merged_weights(peft.PeftModel.from_pretrained(model, str(folder)))


def _base_of(folder: Path, adapter: dict[str, Any], find: Callable[[str], str]) -> str:
    """Return the base model's folder as it was, or where its name leads to today."""
    recorded = adapter.get("base_model_name_or_path") or ""
    if Path(recorded).is_dir():
        return recorded
    told = _recorded(folder).get(BASE_NAME) or recorded
    found = find(told)
    if Path(found).is_absolute() and not Path(found).is_dir():
        raise UserError(
            f"{folder} is an adapter on {told}, which is not there.",
            "Put that model back, or train with --lora_merge.",
        )
    return found


def _recorded(folder: Path) -> dict[str, Any]:
    return json.loads((folder / BASE_CONFIG / "config.json").read_text(encoding="utf-8"))


def _refuse_other_weights(folder: Path, base: Path) -> None:
    """Refuse a base model's folder in which other weights lie than when the adapter was trained.

    The first adapters do not say which these were.

    Raises:
        UserError: so it is.
    """
    before = _recorded(folder).get(BASE_WEIGHTS)
    if before is not None and base.is_dir() and weights_digest(base) != before:
        raise UserError(
            f"{folder} is an adapter on {base}, where other weights lie than when it was trained.",
            "Put those back, or train anew, with --lora_merge for a run that needs no other model.",
        )


def _forget_base(config: Any) -> None:
    for name in (BASE_NAME, BASE_WEIGHTS):
        if hasattr(config, name):
            delattr(config, name)


def check_checkpoint(model: Any, checkpoint: Path) -> None:
    """Refuse to resume a run with an adapter other than the checkpoint's, or with one where it has none.

    Raises:
        UserError: they differ.
    """
    path = checkpoint / ADAPTER_CONFIG
    if path.is_file() != is_adapted(model):
        how = "with" if path.is_file() else "without"
        raise UserError(f"--resume: {checkpoint} was saved {how} --lora_rank.", "Pass the flags the run began with.")
    if path.is_file():
        saved, ours = json.loads(path.read_text(encoding="utf-8")), model.peft_config[ADAPTER]
        for name, flag in (("r", "rank"), ("lora_alpha", "alpha"), ("target_modules", "target_modules")):
            if saved[name] != getattr(ours, name):
                raise UserError(
                    f"--resume: {checkpoint} was saved with another --lora_{flag}.",
                    "Pass the flags the run began with.",
                )
