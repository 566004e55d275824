"""README.md of a run: the model card that goes with the weights, with the metadata the Hub reads."""

import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from bertlab import console, hub
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments, dataclass_flags
from bertlab.cli.training_flags import training_flags
from bertlab.models import lora
from bertlab.report.plots import plain, training_log
from bertlab.report.run_folder import BASELINE_NAMES, RunFolder

# Our metrics under the names the Hub knows; what is not here has the same name there.
HUB_METRICS = {"pearson": "pearsonr", "f1_macro": "f1", "f1_micro": "f1", "f1_samples": "f1"}
HUB_METRICS |= {"precision_macro": "precision", "recall_macro": "recall"}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
# Say where a run took place or what it wrote, not how the model was trained.
NOT_TRAINING = (
    "output_dir",
    "logging_",
    "save_",
    "do_",
    "report_to",
    "run_name",
    "push_to_hub",
    "hub_",
    "disable_tqdm",
    "per_device_eval_batch_size",
    "restore_callback_states_from_checkpoint",
)
# Settings of this program, and not of TrainingArguments, that make another model of the same data.
OUR_TRAINING = (
    *("max_seq_length", "max_train_samples", "selection_fraction", "clean", "class_weights"),
    *("classifier_dropout", "new_head", "reinit_layers", "freeze_encoder", "freeze_embeddings"),
    *("lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules", "layerwise_lr_decay"),
    *("early_stopping_patience", "early_stopping_threshold"),
    *("document_unit", "sentence_splitter", "pairs", "negatives", "negative_fraction"),
    *("objective", "mlm_probability", "whole_word_masking", "from_scratch", "model_config", "train_tokenizer"),
)
HEADS_OF_TWO_SEGMENTS = ("ForNextSentencePrediction", "ForPreTraining")


def render(folder: RunFolder) -> str:
    """Return the model card of a run as Markdown with YAML metadata in front."""
    parts = [
        f"# {_escape(folder.name)}",
        what(folder),
        "## How to use",
        usage(folder),
        "## Results",
        results(folder),
        "## Training",
        training(folder),
        "## Data",
        data(folder),
        "## Environment",
        environment(folder),
        "## Limits",
        limits(folder),
    ]
    body = "\n\n".join(part for part in parts if part)
    return str(ModelCard(f"---\n{metadata(folder).to_yaml()}\n---\n\n{body}\n"))


def metadata(folder: RunFolder) -> ModelCardData:
    """Return the card's metadata; base model and data set only where they are names on the Hub."""
    base, dataset = base_model(folder), hub_dataset(folder)
    results = eval_results(folder)
    return ModelCardData(
        model_name=folder.name,
        library_name="peft" if folder.is_adapter else "transformers",
        pipeline_tag="fill-mask" if folder.fills_masks else "text-classification",
        base_model=base,
        datasets=[dataset] if dataset else None,
        metrics=list(dict.fromkeys(HUB_METRICS.get(name, name) for name in folder.metrics)) or None,
        tags=["bertlab"],
        eval_results=results or None,
    )


def eval_results(folder: RunFolder) -> list[EvalResult]:
    """Return every score of every split that is a number, for the card's model index."""
    dataset = hub_dataset(folder)
    name = dataset or folder.run.get("recipe") or folder.name
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Text classification" if not folder.is_regression else "Text scoring",
            dataset_type=name,
            dataset_name=name,
            dataset_config=folder.configuration.get("dataset_config_name") if dataset else None,
            dataset_split=split,
            metric_type=HUB_METRICS.get(metric, metric),
            metric_name=plain(metric),
            metric_value=round(one["value"], 6),
        )
        for split, told in folder.scored.items()
        for metric, one in told["metrics"].items()
        if _known(one["value"])
    ]


def base_model(folder: RunFolder) -> str | None:
    """Return the model a run began from if it is one on the Hub, else None."""
    name = folder.configuration.get("model_name_or_path")
    if not name or folder.configuration.get("from_scratch"):
        return None
    if "model_from_hub" in folder.run:
        return name if folder.run["model_from_hub"] else None
    return name if HUB_NAME.fullmatch(name) and not hub.is_local(name) else None


def hub_dataset(folder: RunFolder) -> str | None:
    """Return the data set on the Hub that a run read, or None where it read files."""
    settings = folder.configuration
    local = any(settings.get(f"{role}_file") for role in ("train", "validation", "test")) or settings.get("data_dir")
    return None if local else settings.get("dataset_name")


def what(folder: RunFolder) -> str:
    """Return a paragraph on what the model is."""
    source = folder.configuration.get("model_name_or_path")
    begun = f", fine-tuned from {_code(_basename(source))}," if source and _trains(folder) else ""
    reads = "two texts" if folder.is_pair else "a text"
    if folder.fills_masks:
        does = "fills in the masked words of a text"
    elif folder.is_regression:
        does = f"reads {reads} and gives a score"
    elif folder.is_multi_label:
        does = f"reads {reads} and says which of these apply: {_listed(folder.class_names)}"
    else:
        does = f"reads {reads} and says which of these it is: {_listed(folder.class_names)}"
    lines = [f"This model{begun} {does}."]
    lead = folder.metrics[0] if folder.metrics else ""
    if folder.main_split:
        one = folder.scored[folder.main_split]["metrics"][lead]
        lines.append(f"Its {plain(lead)} on {folder.main_split} is **{_score(one['value'])}**{_interval(one)}.")
    return " ".join(lines)


def usage(folder: RunFolder) -> str:
    """Return the code that loads the model and labels a text, and the command that does the same."""
    if folder.fills_masks:
        load = f'fill = pipeline("fill-mask", model={_literal(folder.name)})  # this folder'
        use = 'print(fill(f"A {fill.tokenizer.mask_token} text."))'
        return f"```python\nfrom transformers import pipeline\n\n{load}\n{use}\n```"
    longest = folder.configuration.get("max_seq_length")
    cut = f", truncation=True, max_length={longest}" if longest else ", truncation=True"
    given = '{"text": "A first text.", "text_pair": "A second text."}' if folder.is_pair else '"A text."'
    if folder.architecture.endswith(HEADS_OF_TWO_SEGMENTS):
        code = _next_sentence_code(folder, cut.removeprefix(", "))
    else:
        every = ', top_k=None, function_to_apply="sigmoid"' if folder.is_multi_label else ""
        every = ', function_to_apply="none"' if folder.is_regression else every
        code = _classifier_code(folder, f"print(classifier({given}{cut}{every}))")
    words = '--pair "A first text." "A second text."' if folder.is_pair else '--text "A text."'
    command = f"python -m bertlab predict {shlex.quote(folder.name)} {words}"
    notes = []
    if folder.results.get("temperature") not in (None, 1.0):
        notes.append(f"divides the logits by the fitted temperature {folder.results['temperature']:.3f}")
    if folder.results.get("thresholds"):
        notes.append("applies the fitted threshold of each label")
    more = f"\n\nThe command also {' and '.join(notes)}; the code above does not." if notes else ""
    return f"```python\n{code}\n```\n\n```bash\n{command}\n```{more}"


def results(folder: RunFolder) -> str:
    """Return the table of scores with intervals, baselines and published values, and the words that go with it."""
    if folder.fills_masks:
        return _masked_words(folder)
    if not folder.scored:
        return "No split had labels, so nothing was scored."
    controls = list(dict.fromkeys(name for told in folder.scored.values() for name in told["baselines"]))
    published = folder.results.get("published") or {}
    values = published.get("values") or {}
    header = ["split", "metric", "score", "95 % interval", "rows"]
    header += [BASELINE_NAMES.get(name, plain(name)) for name in controls] + (["published"] if values else [])
    rows = []
    for split, told in folder.scored.items():
        for name, one in told["metrics"].items():
            row = [split, plain(name), _score(one["value"]), _ends(one), f"{one['n']:,}"]
            row += [_score(told["baselines"].get(c, {}).get("metrics", {}).get(name)) for c in controls]
            if values:
                row.append(_score(values.get(name) if split == published.get("split") else None))
            rows.append(row)
    words = "Intervals are percentile bootstrap over rows; they do not cover the choice of the seed."
    if values and published.get("source"):
        words += f" Published: {_escape(published['source'])}."
    return f"{table(header, rows, right=range(2, len(header)))}\n\n{words}"


def _masked_words(folder: RunFolder) -> str:
    found = {name: told["other"] for name, told in folder.results["splits"].items() if told.get("other")}
    names = list(dict.fromkeys(name for told in found.values() for name in told))
    rows = [[split, *(_score(told.get(name)) for name in names)] for split, told in found.items()]
    return table(["split", *map(plain, names)], rows, right=range(1, len(names) + 1)) if rows else "Nothing was scored."


def training(folder: RunFolder) -> str:
    """Return the settings that differ from the Trainer's defaults, the derived numbers, and the training log."""
    if not _trains(folder):
        return "Nothing was trained in this run: it scored a model as it was."
    plan = folder.run.get("plan") or {}
    parts = ["Settings that differ from the defaults of `TrainingArguments`, then of this program:"]
    parts.append(table(["setting", "value"], [[_code(k), _code(v)] for k, v in changed_settings(folder)]))
    if plan:
        parts.append(
            f"{plan['steps']:,} steps of {plan['global_batch']:,} rows ({plan['warmup_steps']:,} warm-up), "
            f"trainable parameters: {plan['trainable']:,} of {plan['parameters']:,}, {plan['precision']}, "
            f"seed {folder.run.get('seed')}."
        )
    log = training_log(folder)
    if log:
        names = [name for name in folder.metrics if any(f"eval_{name}" in row for row in log)]
        keys = (["eval_loss"] if any("eval_loss" in row for row in log) else []) + [f"eval_{name}" for name in names]
        header = ["epoch", "step", "training loss", *(f"{folder.eval_split} {plain(k[5:])}" for k in keys)]
        rows = [
            [_score(row["epoch"], 2), str(row["step"]), _score(row["loss"]), *(_score(row.get(key)) for key in keys)]
            for row in log
        ]
        parts.append(table(header, rows, right=range(len(header))))
    return "\n\n".join(parts)


def changed_settings(folder: RunFolder) -> list[tuple[str, str]]:
    """Return (name, value) of every setting of the training whose value is not its default."""
    ours = dataclass_flags(NspArguments if "negatives" in folder.configuration else DataArguments)
    ours += dataclass_flags(ModelArguments) + dataclass_flags(RunArguments)
    changed = []
    for flag in (*training_flags(), *(flag for flag in ours if flag.name in OUR_TRAINING)):
        value = folder.configuration.get(flag.name)
        if value is None or value == flag.default or flag.name.startswith(NOT_TRAINING):
            continue
        # A path says nothing away from the machine it is on.
        text = _basename(value) if isinstance(value, str) and PurePath(value).is_absolute() else _typed(value)
        changed.append((flag.name, text))
    return changed


def data(folder: RunFolder) -> str:
    """Return the table of splits."""
    dataset = hub_dataset(folder)
    config = folder.configuration.get("dataset_config_name")
    intro = (
        f"[{dataset}](https://huggingface.co/datasets/{dataset}){f', {config}' if config else ''}." if dataset else ""
    )
    header = ["split", "from", "rows", "labelled", "median tokens", "longest", "cut off", "fingerprint"]
    rows = []
    for name, told in (folder.run.get("data") or {}).items():
        length = told.get("token_length") or {}
        counts = [told.get("rows"), told.get("labelled"), length.get("p50"), length.get("longest")]
        cells = ["–" if count is None else f"{count:,}" for count in counts]
        origin, print_ = _basename(told.get("from") or "–"), (told.get("fingerprint") or "–")[:12]
        rows.append([name, origin, *cells, f"{told.get('truncated_share') or 0:.1%}", print_])
    parts = [intro, table(header, rows, right=range(2, 7)) if rows else "", _balance(folder)]
    return "\n\n".join(part for part in parts if part)


def environment(folder: RunFolder) -> str:
    """Return versions, code and device, without anything that names a machine."""
    run = folder.run
    versions = ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items())
    plan, code, seconds = (run.get(name) or {} for name in ("plan", "code", "seconds"))
    lines = [versions]
    if plan:
        gpus = (run.get("machine") or {}).get("gpus") or []
        device = gpus[0] if gpus and str(plan["device"]).startswith("cuda") else plan["device"]
        lines.append(f"{plan['world_size']} × {device}, {plan['precision']}")
    if seconds.get("training"):
        lines.append(f"training took {seconds['training']:,.0f} s")
    if code.get("commit"):
        lines.append(f"bertlab at commit {code['commit'][:12]}{', changed since' if code.get('changed') else ''}")
    return "\n".join(f"- {_escape(line)}" for line in lines if line)


def limits(folder: RunFolder) -> str:
    """Return what the numbers above do not show."""
    lines = ["One seed was run; another one gives another score."]
    longest = folder.configuration.get("max_seq_length")
    if longest:
        lines.append(f"Inputs longer than {longest} tokens are cut off; what follows is not read.")
    if not (folder.is_regression or folder.fills_masks) and folder.class_names:
        lines.append("The model knows these classes only, and picks among them for any text in any language.")
    small = [name for name, told in folder.scored.items() if told["labelled"] < 1000]
    if small:
        lines.append(f"Few labelled rows in {_listed(small)}: read the interval, not the score alone.")
    if folder.results.get("temperature") in (None, 1.0) and not (folder.is_regression or folder.fills_masks):
        few = (
            "the selection split has too few rows" if folder.results.get("selection") else "there is no selection split"
        )
        lines.append(f"Probabilities are not calibrated: {few} for that.")
    lines.append("Texts unlike the training data were not tested, nor was fairness between groups of people.")
    return "\n".join(f"- {line}" for line in lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Return a Markdown table without HTML in it; `right` are the columns whose cells stand to the right."""
    return console.markdown(header, rows, right).replace("<", "&lt;")


def _balance(folder: RunFolder) -> str:
    labelled = {name: told for name, told in (folder.run.get("data") or {}).items() if told.get("balance")}
    if not labelled or len(folder.class_names) > 30:
        return ""
    rows = [[name, *(f"{told['balance'].get(name, 0):,}" for told in labelled.values())] for name in folder.class_names]
    return table(["rows of class", *labelled], rows, right=range(1, len(labelled) + 1))


def _classifier_code(folder: RunFolder, use: str) -> str:
    if not folder.is_adapter:
        load = f'classifier = pipeline("text-classification", model={_literal(folder.name)})  # this folder'
        return f"from transformers import pipeline\n\n{load}\n{use}"
    auto = "AutoModelForSequenceClassification"
    return (
        f"from transformers import AutoConfig, {auto}, pipeline\n\n"
        f"{_model_code(folder, auto)}"
        f'classifier = pipeline("text-classification", model=model, tokenizer={_literal(folder.name)})\n{use}'
    )


def _model_code(folder: RunFolder, auto: str) -> str:
    """Return the lines that load a model; an adapter brings its label names in a configuration of its own."""
    if not folder.is_adapter:
        return f"model = {auto}.from_pretrained({_literal(folder.name)})\n"
    return (
        f"config = AutoConfig.from_pretrained({_literal(folder.name + '/' + lora.BASE_CONFIG)})  # in this folder\n"
        f"model = {auto}.from_pretrained({_literal(folder.name)}, config=config)  # needs the package peft\n"
    )


def _next_sentence_code(folder: RunFolder, cut: str) -> str:
    auto = "AutoModelForPreTraining" if "PreTraining" in folder.architecture else "AutoModelForNextSentencePrediction"
    logits = "seq_relationship_logits" if "PreTraining" in folder.architecture else "logits"
    return (
        f"from transformers import {'AutoConfig, ' if folder.is_adapter else ''}AutoTokenizer, {auto}\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({_literal(folder.name)})  # this folder\n"
        f"{_model_code(folder, auto)}"
        f'inputs = tokenizer("A first text.", "A second text.", {cut}, return_tensors="pt")\n'
        f"chances = model(**inputs).{logits}.softmax(-1)[0].tolist()\n"
        "print({model.config.id2label[index]: chance for index, chance in enumerate(chances)})"
    )


def _trains(folder: RunFolder) -> bool:
    return folder.configuration.get("do_train", True) is not False and bool(
        (folder.run.get("plan") or {}).get("steps", 1)
    )


def _basename(value: Any) -> str:
    """Return a name without the folders of a machine; a name on the Hub or in a package stays whole."""
    text = str(value)
    return PurePath(text).name if PurePath(text).is_absolute() or text.startswith(("~", ".")) else text


def _typed(value: Any) -> str:
    """Return a setting as one would type it."""
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _literal(text: str) -> str:
    """Return a text as Python code."""
    return json.dumps(text, ensure_ascii=False)


def _listed(names: Sequence[str]) -> str:
    shown = [_code(name) for name in names[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _code(text: Any) -> str:
    shown = " ".join(str(text).split())
    # Back-ticks inside code need a longer fence around it.
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"`{shown}`" if fence == "`" else f"{fence} {shown} {fence}"


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _score(value: Any, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if _known(value) else "–"


def _ends(one: dict[str, Any]) -> str:
    return f"{_score(one['low'])} to {_score(one['high'])}" if _known(one["low"]) and _known(one["high"]) else "–"


def _interval(one: dict[str, Any]) -> str:
    return f" (95 % interval {_ends(one)}, {one['n']:,} rows)" if _ends(one) != "–" else f" ({one['n']:,} rows)"
