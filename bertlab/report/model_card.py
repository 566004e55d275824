"""README.md of a run: the model card that is uploaded with the weights, with the metadata the Hub reads."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from bertlab import console
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments, dataclass_flags
from bertlab.cli.training_flags import training_flags
from bertlab.evaluation.metrics import split_average
from bertlab.models import lora
from bertlab.report import scores, selection, tables
from bertlab.report.html import count, setting
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import interval, is_number, metric_name, score
from bertlab.report.tables import Table, basename, cell

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
LISTED_NAMES = 20
# Texts of our own to try a model with, by a word in the names of its recipe, columns or classes. None is of the data: a
# card is uploaded, and rows of the user's are not unless asked for.
EXAMPLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("qnli answer", ("When was the bridge opened?", "The bridge was opened to traffic in 1932.")),
    ("entail", ("A man is playing a guitar on a stage.", "Someone is making music.")),
    ("question", ("How do I learn to play chess?", "What is a good way to learn chess?")),
    ("isnext", ("She opened the old wooden door.", "Behind it a narrow stair led down into the dark.")),
    ("", ("The committee will meet again on Monday.", "On Monday there is another meeting of the committee.")),
    ("acceptable", ("The books that she bought was on the table.",)),
    ("positive review imdb sst2", ("The staff were friendly, but the food came late and cold.",)),
    ("", ("The committee will meet again on Monday.",)),
)


def render(folder: RunFolder) -> str:
    """Return the model card of a run as Markdown with YAML metadata in front."""
    functions = (markdown, interval, score, count, _code, _listed, _escape, _literal)
    values: dict[str, Any] = {
        **{function.__name__.strip("_"): function for function in functions},
        "display_name": lambda name: metric_name(folder.results, name),
        "run": folder,
        "source": _source(folder),
        "title": _name(folder),
        "example": [_literal(text) for text in example(folder)],
        "standing": scores.standing(folder.results),
        "groups": scores.groups(folder.results),
        "selection": selection.notes(folder),
        "shell_name": shlex.quote(_name(folder)),
        "base_config": lora.BASE_CONFIG,
        "tables": tables,
        "settings": Table(["setting", "value"], [[*map(_code, pair)] for pair in changed_settings(folder)], 2),
        "dataset": (folder.run.get("hub") or {}).get("dataset"),
        "small": [name for name, split in folder.scored.items() if split["labelled"] < FEW_EXAMPLES],
    }
    return str(ModelCard.from_template(metadata(folder), template_path=str(TEMPLATE), **values))


def example(folder: RunFolder) -> tuple[str, ...]:
    """Return a text, or a pair of texts, like those of the run."""
    columns = folder.configuration.get("text_column_names") or []
    about = " ".join([str(folder.run.get("recipe")), *columns, *folder.class_names]).casefold()
    fitting = (
        texts
        for words, texts in EXAMPLES
        if (len(texts) == 2) == folder.is_pair and (not words or any(word in about for word in words.split()))
    )
    return next(fitting)


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


def benchmark_result(folder: RunFolder) -> str | None:
    """Return the primary metric of the last scored split as .eval_results/*.yaml, if --hub_benchmark_task asks for it.

    It is in our unit: only the user knows whether the benchmark's task has that metric, split and unit.
    """
    task, data = folder.configuration.get("hub_benchmark_task"), (folder.run.get("hub") or {}).get("dataset")
    if not task or not data or not folder.scored:
        return None
    split, metric = list(folder.scored)[-1], folder.metrics[0]
    value = round(folder.scored[split]["metrics"][metric]["value"], 6)
    entry = EvalResultEntry(data, task, value, notes=f"{hub_metric(metric)} of the split {split}")
    return str(yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False))


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
            changed.append((flag.name, basename(setting(value))))
    return changed


def markdown(table: Table) -> str:
    """Return a table as Markdown without HTML in it."""
    rows = [[cell(value) for value in row] for row in table.rows]
    return console.markdown(table.header, rows, range(table.first_right, len(table.header))).replace("<", "&lt;")


def _name(folder: RunFolder) -> str:
    """Return the repository that the run was uploaded to, or the name of its folder."""
    return (folder.run.get("hub") or {}).get("repository") or folder.name


def _source(folder: RunFolder) -> str | None:
    """Return the model a run began from, without the folders of a machine; None from scratch."""
    name = folder.configuration.get("model_name_or_path")
    return None if not name or folder.configuration.get("from_scratch") else basename(name)


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
