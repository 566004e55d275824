"""What can be set: `Flag` describes one setting, and dataclasses hold our own."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["bool", "int", "float", "str", "Path", "dict"]


@dataclass(frozen=True)
class Flag:
    """One setting of the command line and of recipes."""

    name: str
    kind: Kind
    many: bool = False
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    group: str = ""
    above: float | None = None  # like minimum, itself excluded
    unset: float | None = None  # stands for "not set", whatever the range
    is_json: bool = False  # a JSON object, or a file that holds one
    may_be_empty: bool = False  # an empty text is a value
    is_path: bool = False  # of text: a leading ~ is the home folder
    numeric: bool = False  # of a dict: its values are numbers
    words: tuple[str, ...] = ()  # of a dict: what may stand in its place
    count: int = 0  # the number of values it takes, if it is fixed
    repeatable: bool = False  # the values of several times add up
    positional: bool = False  # a word of a command without a flag; required where its default is None


@dataclass(frozen=True)
class Occurrence:
    """A flag or recipe key with its raw values, how messages name its place, and its recipe, if any."""

    name: str
    values: list[str]
    where: str
    recipe: str = ""

    @property
    def argv(self) -> list[str]:
        """The part of the command line that gives the flag these values."""
        if self.values and self.values[0].startswith("--"):
            return [f"{self.where}={self.values[0]}", *self.values[1:]]
        return [self.where, *self.values]


def setting(default: Any, help: str, **more: Any) -> Any:
    """Return a dataclass field that carries what the command line needs to know: `more` are fields of `Flag`."""
    metadata = {"help": help, **more}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


FRACTION: dict[str, Any] = {"minimum": 0, "maximum": 0.9}
SEED: dict[str, Any] = {"minimum": 0, "maximum": 2**32 - 1}


@dataclass
class TokenizationArguments:
    """How text becomes token ids, in both scripts."""

    max_seq_length: int = setting(128, "longest input in tokens; longer ones are truncated", minimum=1)
    pad_to_max_length: bool = setting(False, "pad every row to --max_seq_length (slower; for fixed shapes)")
    preprocessing_num_workers: int | None = setting(None, "processes for tokenization", minimum=1, maximum=256)
    overwrite_cache: bool = setting(False, "tokenize again even if the cache has the result")


@dataclass
class DataArguments(TokenizationArguments):
    """Where the labelled text comes from and how it becomes splits with one label schema."""

    dataset_name: str | None = setting(
        None, "data set on the Hub, for example nyu-mll/glue, or a folder of one", is_path=True
    )
    dataset_config_name: str | None = setting(None, "configuration of that data set, for example cola")
    data_dir: str | None = setting(None, "folder with the files of --data_layout, instead of the Hub", is_path=True)
    data_layout: str | None = setting(None, "names and columns of the files there: glue/cola, glue/mnli, cola_public…")
    train_file: str | None = setting(
        None,
        "training rows: CSV, TSV, JSON, JSON lines, Parquet, or a folder per class; plain, .gz or .zip",
        is_path=True,
    )
    validation_file: str | None = setting(None, "rows to evaluate on, same formats", is_path=True)
    test_file: str | None = setting(None, "rows to predict, labelled or not, same formats", is_path=True)
    delimiter: str | None = setting(None, "field delimiter of CSV files (default: detected from the first 100 lines)")
    quoting: Literal["auto", "none", "standard"] = setting(
        "auto", "auto: double quotes quote in CSV and are plain characters in TSV"
    )
    encoding: str | None = setting(None, "text encoding of local files (default: UTF-8, or what a BOM says)")

    column_names: list[str] = setting([], "names of the columns of CSV and TSV files without a header line")
    text_column_names: list[str] = setting(
        [], "one text column; two for a pair of segments; more, or any number with --text_column_delimiter, joined"
    )
    text_column_delimiter: str | None = setting(
        None, "join the text columns with this into one segment (default for three or more: a space)", may_be_empty=True
    )
    label_column_name: list[str] = setting(
        [], "column of the label (default: label, then labels); several columns of 0 and 1 are several labels"
    )
    label_delimiter: str | None = setting(None, "separates several labels in one cell, for example ,")
    source_column_name: str | None = setting(None, "column by which the report breaks scores down, such as source")
    group_column: str | None = setting(
        None, "column of what rows belong to, such as patient: a group stays in one split and is resampled as a whole"
    )
    problem_type: Literal["auto", "single_label_classification", "multi_label_classification", "regression"] = setting(
        "auto", "kind of label"
    )
    do_regression: bool = setting(False, "short for --problem_type regression")
    class_names: list[str] = setting([], "names of the classes in the order of their ids (default: sorted)")
    label_map: dict[str, str] = setting({}, "rename or merge labels: 1=negative 2=negative 3=neutral 4=positive")
    drop_labels: list[str] = setting([], "leave out rows with these labels, for example -1 - (counted)")
    positive_label: str | None = setting(
        None, "the class of two that f1, precision and recall are of (default: the one with id 1)"
    )
    metric_name: list[str] = setting([], "metrics instead of the task's own: f1_macro accuracy…; the first is primary")

    train_split_name: str = setting("train", "split to train on")
    validation_split_name: list[str] = setting([], "split or splits to evaluate on (default: validation)")
    test_split_name: list[str] = setting([], "split or splits to predict (default: test)")
    remove_splits: list[str] = setting([], "splits to leave out")
    remove_columns: list[str] = setting([], "columns to leave out")
    validation_fraction: float = setting(0.0, "fraction of train held out as an evaluation split", **FRACTION)
    test_fraction: float = setting(0.0, "fraction of train held out as a labelled test split", **FRACTION)
    selection_fraction: float = setting(
        0.0, "fraction of train held out to select the best epoch, stop early and fit thresholds", **FRACTION
    )
    stratify: bool = setting(True, "keep the label balance in what is held out or sampled of train (--no_stratify)")
    split_shuffle: bool = setting(True, "shuffle before the split (--no_split_shuffle holds out the end of the file)")
    split_seed: int = setting(42, "seed of the splits, apart from --seed so that seeds share their splits", **SEED)
    keep_duplicates_together: bool = setting(False, "rows that share a text are a group, too: see --group_column")
    max_train_samples: int | None = setting(None, "use at most this many training rows", minimum=1)
    max_eval_samples: int | None = setting(None, "use at most this many rows of each validation split", minimum=1)
    max_predict_samples: int | None = setting(None, "use at most this many rows of each test split", minimum=1)
    shuffle_train_dataset: bool = setting(
        False, "take --max_train_samples at random, with the label balance of all rows"
    )
    shuffle_seed: int = setting(42, "seed of --shuffle_train_dataset", minimum=0)
    streaming: bool = setting(False, "read training rows as they are needed; needs --max_steps and --class_names")
    shuffle_buffer: int = setting(
        10_000, "rows of a stream that are shuffled and grouped by length together; 0 keeps their order", minimum=0
    )
    on_missing: Literal["error", "drop"] = setting(
        "error", "what to do with rows without text or label, or with too few or too many fields (ragged)"
    )
    clean: list[Literal["html", "whitespace"]] = setting(
        [], "html: tags become a space, entities characters; whitespace: runs become one space"
    )


@dataclass
class NspArguments(TokenizationArguments):
    """How plain text becomes documents, sentences and pairs."""

    text: list[str] = setting([], "text files, folders or globs, plain or .gz")
    encoding: str | None = setting(None, "text encoding (default: UTF-8, or what a BOM says)")
    document_unit: Literal["line", "block", "file"] = setting(
        "line", "what a document is: a line, a block between blank lines, or a file"
    )
    sentence_splitter: Literal["sentencex", "period", "line"] = setting(
        "sentencex", "sentencex knows abbreviations; period ends at every full stop; line takes one sentence a line"
    )
    language: str = setting("en", "language of the text for sentencex, as a two-letter code")
    clean: list[Literal["gutenberg", "headers", "hyphenation"]] = setting(
        [],
        "gutenberg: no licence; headers: no lines that pages repeat, no wiki headings; hyphenation: words that a line "
        "end parts are joined",
    )
    pairs: Literal["all", "one_per_document", "segments"] = setting(
        "all", "every neighbouring pair; one random pair a document; or segments packed to --max_seq_length"
    )
    short_seq_probability: float = setting(
        0.1, "fraction of segments, or MLM rows, packed to a shorter, random length", minimum=0, maximum=1
    )
    negatives: Literal["other_document", "same_document", "any"] = setting(
        "other_document", "where the second segment of a NotNext pair comes from; any: also text that truly follows"
    )
    negative_fraction: float = setting(0.5, "fraction of NotNext pairs", minimum=0.01, maximum=0.99)
    fresh_negatives: bool = setting(True, "give the training pairs other second segments in every epoch")
    validation_fraction: float = setting(0.1, "fraction of documents held out for evaluation", **FRACTION)
    selection_fraction: float = setting(0.0, "fraction of documents held out to select the best epoch", **FRACTION)
    test_fraction: float = setting(0.0, "fraction of documents held out as a second evaluation split", **FRACTION)
    split_seed: int = setting(42, "seed of the document split and of the pairs, apart from --seed", **SEED)
    max_train_samples: int | None = setting(None, "use at most this many training pairs", minimum=1)
    max_eval_samples: int | None = setting(None, "use at most this many pairs of each other split", minimum=1)

    show_examples: int = setting(0, "print this many training rows as the model sees them and stop", minimum=0)

    objective: Literal["nsp", "mlm", "nsp+mlm"] = setting(
        "nsp", "next-sentence prediction, masked language modeling of single texts, or both (how BERT was trained)"
    )
    mlm_probability: float = setting(0.15, "fraction of tokens masked", minimum=0.01, maximum=0.9)
    whole_word_masking: bool = setting(False, "mask all tokens of a word together")
    from_scratch: bool = setting(False, "train from scratch: from random weights")
    model_config: dict[str, str] = setting({}, "with --from_scratch: hidden_size=256 num_attention_heads=4…")
    train_tokenizer: int | None = setting(
        None, "with --from_scratch: train a WordPiece tokenizer with this vocabulary size on the text", minimum=100
    )


@dataclass
class ModelArguments:
    """Which tokenizer and model, and what is changed about them before training."""

    model_name_or_path: str | None = setting(
        None, "model on the Hub, a folder, or package:IMPORT_NAME/path inside an installed pip package"
    )
    config_name: str | None = setting(None, "configuration, if it is not the model's own")
    tokenizer_name: str | None = setting(None, "tokenizer, if it is not the model's own")
    model_revision: str = setting("main", "branch, tag or commit of the model on the Hub")
    token: str | None = setting(None, "access token for the Hub (default: the one `hf auth login` stored)")
    cache_dir: str | None = setting(None, "folder for what is downloaded or tokenized", is_path=True)
    trust_remote_code: bool = setting(False, "allow code from the model's repository to run on this machine")
    use_fast_tokenizer: bool = setting(True, "use the tokenizer written in Rust")
    attn_implementation: Literal["eager", "sdpa", "flex_attention", "flash_attention_2"] | None = setting(
        None, "how attention is computed (default: sdpa where the model has it, else eager)"
    )
    ignore_mismatched_sizes: bool = setting(False, "replace a head whose size does not fit instead of stopping")
    classifier_dropout: float | None = setting(None, "dropout before the classifier", minimum=0, maximum=0.99)
    new_head: bool = setting(False, "start with a new head, whatever head the model has; its encoder and pooler stay")
    reinit_layers: int | None = setting(
        None, "re-initialize the pooler and this many top layers (0: the pooler alone)", minimum=0
    )
    freeze_encoder: bool = setting(False, "freeze the encoder: train only the classifier (and pooler)")
    freeze_embeddings: bool = setting(False, "freeze the embeddings")
    lora_rank: int | None = setting(
        None, "LoRA rank: train an adapter of this rank instead of the encoder's weights (needs peft)", minimum=1
    )
    lora_alpha: int | None = setting(
        None, "LoRA alpha: the adapter is scaled by alpha / rank (default: twice the rank)", minimum=1
    )
    lora_dropout: float = setting(0.0, "dropout before the adapter", minimum=0, maximum=0.99)
    lora_target_modules: list[str] = setting([], "linear modules to adapt, such as query value (default: all of them)")
    class_weights: dict[str, float] | Literal["none", "balanced"] = setting(
        "none",
        "weight of each class in the loss: balanced (1/frequency; for several labels absent/present), or spam=5 ham=1",
        numeric=True,
        above=0,
        words=("none", "balanced"),
    )

    @property
    def names(self) -> tuple[str | None, ...]:
        """What is loaded: model, configuration and tokenizer, as named."""
        return self.model_name_or_path, self.config_name, self.tokenizer_name


@dataclass
class RunArguments:
    """How the run behaves around Trainer: precision, stopping, resuming, what it prints."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "auto: bf16 on GPUs that have it and on CPUs with AMX or AVX-512 BF16, else fp32"
    )
    global_batch_size: int | None = setting(
        None, "rows of a step, divided by processes and --gradient_accumulation_steps", minimum=1, maximum=2**16
    )
    layerwise_lr_decay: float = setting(
        1.0, "multiply the learning rate by this at each step from the head down to the embeddings", above=0, maximum=1
    )
    lora_merge: bool = setting(False, "add the adapter of --lora_rank to the weights: the run is an ordinary model")
    early_stopping_patience: int | None = setting(
        None, "stop after this many evaluations without a better --metric_for_best_model (0: never)", minimum=0
    )
    early_stopping_threshold: float = setting(0.0, "what counts as better", minimum=0)
    resume: str = setting("never", "continue a stopped run: never, auto (if there is one), must, or a checkpoint")
    overwrite_output_dir: bool = setting(False, "replace an earlier run in --output_dir; other files there stay")
    threshold: str | None = setting(
        None,
        "choose the threshold of two classes, or of each label (default: f1), on the selection split by a metric (f1, "
        "balanced_accuracy), precision=0.95, recall=0.9, or cost=1:5 (of a false positive : of a false negative)",
    )
    metric_batch_size: int | None = setting(
        None, "also list the metric of each consecutive batch of this many test rows", minimum=1
    )
    published: dict[str, float] = setting(
        {}, "published values to show beside ours: matthews_correlation=0.5653 (same metric names)", numeric=True
    )
    published_split: str | None = setting(None, "split they belong to (default: the first evaluation split)")
    published_source: str | None = setting(None, "where they come from: model, split, seeds, document")
    push_run_files_to_hub: bool = setting(
        False,
        "with --push_to_hub: also upload run.json, report, predictions and misclassified examples, which hold paths "
        "of this machine and texts of the data",
    )
    hub_benchmark_task: str | None = setting(
        None,
        "with --push_to_hub: the task, in the data set's benchmark on the Hub, that the primary metric is the score "
        "of; also upload .eval_results/",
    )
    print_parameters: bool = setting(False, "print every parameter of the model with its shape and stop")
    print_config: bool = setting(False, "print the resolved run as a recipe and stop")


def dataclass_flags(cls: type) -> list[Flag]:
    """Return the flags of one of our argument dataclasses, in order."""
    hints, group = typing.get_type_hints(cls), cls.__name__.removesuffix("Arguments").lower()
    flags = []
    for item in dataclasses.fields(cls):
        kind, many, choices = _from_type(hints[item.name])
        default = item.default if item.default is not dataclasses.MISSING else item.default_factory()  # type: ignore[operator]
        flags.append(Flag(item.name, kind, many, default, choices=choices, group=group, **item.metadata))
    return flags


def _from_type(hint: Any) -> tuple[Kind, bool, tuple[str, ...]]:
    """Return kind, many and choices of a flag of this type: `int | None`, `list[str]`, `Literal["a", "b"]`…"""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        kind, _, choices = _from_type(inner[0])
        return kind, True, choices
    if origin is dict:
        return "dict", True, ()
    return ("str", False, inner) if origin is Literal else (typing.cast(Kind, hint.__name__), False, ())
