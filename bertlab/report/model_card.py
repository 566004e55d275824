"""README.md of a run: the model card that is uploaded with the weights, with the metadata the Hub reads."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from bertlab import console
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments, dataclass_flags
from bertlab.cli.training_flags import training_flags
from bertlab.evaluation.metrics import split_average
from bertlab.models import lora
from bertlab.report import scores
from bertlab.report.html import count, percent, setting
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import display_name, interval, is_number, metric_name, score

TEMPLATE = Path(__file__).with_name("model_card.md.j2")
# The Hub's names of metrics, where they differ from ours.
HUB_METRICS = {"pearson": "pearsonr", "r2": "r_squared"}
# Beginnings of settings that do not change the trained model.
NOT_TRAINING = (
    *("output_dir", "logging_", "save_", "do_", "report_to", "run_name", "push_to_hub", "hub_", "disable_tqdm"),
    *("per_device_eval_batch_size", "restore_callback_states_from_checkpoint"),
)
# Settings of this program, not of TrainingArguments, that change the trained model.
OUR_TRAINING = (
    *("max_seq_length", "max_train_samples", "selection_fraction", "clean", "class_weights"),
    *("classifier_dropout", "new_head", "reinit_layers", "freeze_encoder", "freeze_embeddings"),
    *("lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules", "layerwise_lr_decay"),
    *("early_stopping_patience", "early_stopping_threshold"),
    *("document_unit", "sentence_splitter", "pairs", "negatives", "negative_fraction"),
    *("objective", "mlm_probability", "whole_word_masking", "from_scratch", "model_config", "train_tokenizer"),
)
# Below this many labelled examples the card warns.
FEW_EXAMPLES = 1000
LISTED_NAMES, LISTED_BALANCE = 20, 30


def render(folder: RunFolder) -> str:
    """Return the model card of a run as Markdown with YAML metadata in front."""
    functions = (table, interval, score, count, _code, _listed, _escape, _literal)
    values: dict[str, Any] = {
        **{function.__name__.strip("_"): function for function in functions},
        "display_name": lambda name: metric_name(folder.results, name),
        "run": folder,
        "source": _source(folder),
        "title": _name(folder),
        "shell_name": shlex.quote(_name(folder)),
        "base_config": lora.BASE_CONFIG,
        "score_table": (*scores.score_table(folder.results), 2),
        "mlm_scores": _mlm_scores(folder),
        "settings": [[_code(name), _code(value)] for name, value in changed_settings(folder)],
        "log": _log(folder),
        "dataset": (folder.run.get("hub") or {}).get("dataset"),
        "data": _data(folder),
        "balance": _balance(folder),
        "small": [name for name, split in folder.scored.items() if split["labelled"] < FEW_EXAMPLES],
    }
    return str(ModelCard.from_template(metadata(folder), template_path=str(TEMPLATE), **values))


def metadata(folder: RunFolder) -> ModelCardData:
    """Return the card's metadata; base model, data set, licence and language only where the Hub has them."""
    hub = folder.run.get("hub") or {}
    return ModelCardData(
        model_name=_name(folder),
        library_name="peft" if folder.is_adapter else "transformers",
        # A next-sentence head has no pipeline: that of text classification would give it an untrained one.
        pipeline_tag="fill-mask" if folder.fills_masks else None if folder.is_nsp else "text-classification",
        base_model=hub.get("model"),
        datasets=[hub["dataset"]] if hub.get("dataset") else None,
        metrics=list(dict.fromkeys(map(hub_metric, folder.metrics))) or None,
        tags=["bertlab"],
        eval_results=eval_results(folder) or None,
        license=hub.get("license"),
        license_name=hub.get("license_name"),
        license_link=hub.get("license_link"),
        language=hub.get("language"),
    )


def eval_results(folder: RunFolder) -> list[EvalResult]:
    """Return every score of every split that is a number, for the card's model index."""
    dataset = (folder.run.get("hub") or {}).get("dataset")
    name = dataset or folder.run.get("recipe") or folder.name
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Text classification" if not folder.is_regression else "Text scoring",
            dataset_type=name,
            dataset_name=name,
            dataset_config=folder.configuration.get("dataset_config_name") if dataset else None,
            dataset_split=split,
            metric_type=hub_metric(metric),
            metric_name=metric_name(folder.results, metric),
            metric_value=round(result["value"], 6),
        )
        for split, results in folder.scored.items()
        for metric, result in results["metrics"].items()
        if is_number(result["value"])
    ]


def hub_metric(name: str) -> str:
    """Return the Hub's name of a metric, which has no average."""
    base, _ = split_average(name)
    return HUB_METRICS.get(base, base)


def changed_settings(folder: RunFolder) -> list[tuple[str, str]]:
    """Return (name, value) of every setting of the training whose value is not its default."""
    ours = dataclass_flags(NspArguments if "negatives" in folder.configuration else DataArguments)
    ours += dataclass_flags(ModelArguments) + dataclass_flags(RunArguments)
    changed = []
    for flag in (*training_flags(), *(flag for flag in ours if flag.name in OUR_TRAINING)):
        value = folder.configuration.get(flag.name)
        if value is not None and value != flag.default and not flag.name.startswith(NOT_TRAINING):
            changed.append((flag.name, _basename(setting(value))))
    return changed


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], first_right: int | None = None) -> str:
    """Return a Markdown table without HTML in it; columns from `first_right` on are aligned to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = range(len(header) if first_right is None else first_right, len(header))
    return console.markdown(header, cells, right).replace("<", "&lt;")


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return count(value)
    return score(value, 4) if value is None or isinstance(value, float) else str(value)


def _name(folder: RunFolder) -> str:
    """Return the repository that the run was uploaded to, or the name of its folder."""
    return (folder.run.get("hub") or {}).get("repository") or folder.name


def _source(folder: RunFolder) -> str | None:
    """Return the model a run began from, without the folders of a machine; None from scratch."""
    name = folder.configuration.get("model_name_or_path")
    return None if not name or folder.configuration.get("from_scratch") else _basename(name)


def _mlm_scores(folder: RunFolder) -> tuple[list[str], list[list[Any]], int]:
    splits = {name: split["other"] for name, split in folder.results["splits"].items() if split.get("other")}
    names = list(dict.fromkeys(name for values in splits.values() for name in values))
    rows = [[split, *(values.get(name) for name in names)] for split, values in splits.items()]
    return ["split", *map(display_name, names)], rows, 1


def _log(folder: RunFolder) -> tuple[list[str], list[list[Any]], int]:
    rows = folder.training_log()
    keys = [key for key in ("eval_loss", *(f"eval_{name}" for name in folder.metrics)) if any(key in r for r in rows)]
    names = (f"{folder.eval_split} {display_name(key.removeprefix('eval_'))}" for key in keys)
    cells = [[score(r["epoch"], 2), r["step"], r["loss"], *(r.get(key) for key in keys)] for r in rows]
    return ["epoch", "step", "training loss", *names], cells, 0


def _data(folder: RunFolder) -> tuple[list[str], list[list[Any]], int]:
    header = ["split", "from", "fingerprint", "examples", "labelled", "token length p50", "longest", "truncated"]
    rows = []
    for name, split in folder.data.items():
        length, fingerprint = split.get("token_length") or {}, split.get("fingerprint") or "–"
        counts = [split.get("rows"), split.get("labelled"), length.get("p50"), length.get("longest")]
        truncated = percent(split.get("truncated_share") or 0)
        rows.append([name, _basename(split.get("from") or "–"), fingerprint[:12], *map(count, counts), truncated])
    return header, rows, 3


def _balance(folder: RunFolder) -> tuple[list[str], list[list[Any]], int]:
    splits = {name: split["balance"] for name, split in folder.data.items() if split.get("balance")}
    names = folder.class_names if splits and len(folder.class_names) <= LISTED_BALANCE else []
    rows = [[name, *(balance.get(name, 0) for balance in splits.values())] for name in names]
    return ["examples of class", *splits], rows, 1


def _basename(value: Any) -> str:
    """Return a name without the folders of a machine; a name on the Hub or in a package stays whole."""
    text = str(value)
    return PurePath(text).name if PurePath(text).is_absolute() or text.startswith(("~", ".")) else text


def _literal(text: str) -> str:
    """Return a text as Python code."""
    return json.dumps(text, ensure_ascii=False)


def _listed(names: Sequence[str]) -> str:
    shown = [_code(name) for name in names[:LISTED_NAMES]]
    return ", ".join(shown) + (f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else "")


def _code(text: Any) -> str:
    shown = " ".join(str(text).split())
    # Back-ticks inside code need a longer fence around it.
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"`{shown}`" if fence == "`" else f"{fence} {shown} {fence}"


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
