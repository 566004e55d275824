"""What can be set: our own flags as dataclasses, and every field of the installed TrainingArguments.

One `Flag` describes one setting, whoever defines it. The fields of TrainingArguments are read from its source
text, because importing it costs 4 s and `--help` or a misspelt flag should answer at once.
"""

import dataclasses
import os
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
    numeric: bool = False  # of a dict: its values are numbers
    count: int = 0  # so many values each time
    repeatable: bool = False  # the values of several times add up
    positional: bool = False  # a word of a command without a flag; required where its default is None


@dataclass(frozen=True)
class Occurrence:
    """A flag or recipe key with its raw values, the words that name its place in messages, and its recipe, if any."""

    name: str
    values: list[str]
    where: str
    recipe: str = ""

    @property
    def words(self) -> list[str]:
        """The words of the command line that give the flag these values."""
        if self.values and self.values[0].startswith("--"):
            return [f"{self.where}={self.values[0]}", *self.values[1:]]
        return [self.where, *self.values]


def setting(default: Any, help: str, **more: Any) -> Any:
    """Return a dataclass field that carries what the command line needs to know: `more` are fields of `Flag`."""
    metadata = {"help": help, **more}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def _expand(arguments: Any, *names: str) -> None:
    for name in names:
        path = getattr(arguments, name)
        if path is not None:
            setattr(arguments, name, os.path.expanduser(path))  # noqa: PTH111 (a Path takes one slash of https://)


@dataclass
class TokenizationArguments:
    """How text becomes token ids, in both scripts."""

    max_seq_length: int = setting(128, "longest input in tokens; the rest is cut off", minimum=1)
    pad_to_max_length: bool = setting(False, "pad every row to --max_seq_length (slower; for fixed shapes)")
    preprocessing_num_workers: int | None = setting(None, "processes for tokenization", minimum=1)
    overwrite_cache: bool = setting(False, "tokenize again even if the cache has the result")

    @property
    def fixed_length(self) -> int | None:
        """The length every row is padded to, or None where a batch is padded to its longest row."""
        return self.max_seq_length if self.pad_to_max_length else None


@dataclass
class DataArguments(TokenizationArguments):
    """Where the labelled text comes from and how it becomes splits with one label space."""

    dataset_name: str | None = setting(None, "data set on the Hub, for example nyu-mll/glue")
    dataset_config_name: str | None = setting(None, "configuration of that data set, for example cola")
    data_dir: str | None = setting(None, "folder with the files of --data_layout, read instead of the Hub")
    data_layout: str | None = setting(
        None, "how files under --data_dir are named and laid out: glue/cola, glue/mnli, cola_public…"
    )
    train_file: str | None = setting(None, "training rows: CSV, TSV, JSON, JSON lines or Parquet, plain, .gz or .zip")
    validation_file: str | None = setting(None, "rows to evaluate on, same formats")
    test_file: str | None = setting(None, "rows to predict, labelled or not, same formats")
    delimiter: str | None = setting(None, "field delimiter of CSV files; found from the header if not given")
    quoting: str = setting(
        "auto",
        "auto: double quotes quote in CSV and are letters in TSV",
        choices=("auto", "none", "standard"),
    )
    encoding: str | None = setting(None, "text encoding of local files (default: UTF-8, or what a BOM says)")

    text_column_names: list[str] = setting(
        [],
        "one text column; two for a pair of segments; more, or any number with --text_column_delimiter, joined",
    )
    text_column_delimiter: str | None = setting(
        None,
        "join the text columns with this into one segment (default for three or more: a space)",
        may_be_empty=True,
    )
    label_column_name: str | None = setting(None, "column of the label (default: label, then labels)")
    source_column_name: str | None = setting(None, "column that groups rows in the report, for example source")
    problem_type: str = setting(
        "auto",
        "kind of label",
        choices=("auto", "single_label_classification", "multi_label_classification", "regression"),
    )
    do_regression: bool = setting(False, "short for --problem_type regression")
    class_names: list[str] = setting([], "names of the classes in the order of their ids (default: sorted)")
    label_map: dict[str, str] = setting(
        {}, "rename or merge labels: 1=negative 2=negative 3=neutral 4=positive 5=positive"
    )
    metric_name: list[str] = setting([], "metrics instead of the task's own: f1_macro accuracy…; the first leads")

    train_split_name: str = setting("train", "split to train on")
    validation_split_name: list[str] = setting([], "split or splits to evaluate on (default: validation)")
    test_split_name: list[str] = setting([], "split or splits to predict (default: test)")
    remove_splits: list[str] = setting([], "splits to leave out")
    remove_columns: list[str] = setting([], "columns to leave out")
    validation_fraction: float = setting(0.0, "share of train cut off to report on", minimum=0, maximum=0.9)
    test_fraction: float = setting(0.0, "share of train cut off as a labelled test split", minimum=0, maximum=0.9)
    selection_fraction: float = setting(
        0.0,
        "share of train cut off to choose the best epoch, stop early and fit thresholds; never reported",
        minimum=0,
        maximum=0.9,
    )
    stratify: bool = setting(True, "keep the label balance in splits cut from train (--no_stratify)")
    split_shuffle: bool = setting(True, "shuffle before cutting (--no_split_shuffle cuts the end of the file)")
    split_seed: int = setting(
        42, "seed of the cuts, apart from --seed so that seeds share their splits", minimum=0, maximum=2**32 - 1
    )
    keep_duplicates_together: bool = setting(False, "never let the same text fall on both sides of a cut")
    max_train_samples: int | None = setting(None, "use at most this many training rows", minimum=1)
    max_eval_samples: int | None = setting(None, "use at most this many rows of each validation split", minimum=1)
    max_predict_samples: int | None = setting(None, "use at most this many rows of each test split", minimum=1)
    shuffle_train_dataset: bool = setting(False, "shuffle train before --max_train_samples is taken")
    shuffle_seed: int = setting(42, "seed of --shuffle_train_dataset", minimum=0)
    streaming: bool = setting(
        False,
        "read the training rows as they are needed, for files beyond the disk; needs --max_steps, --class_names",
    )
    shuffle_buffer: int = setting(
        10_000, "rows of a stream that are shuffled and grouped by length together; 0 keeps their order", minimum=0
    )
    on_missing: str = setting(
        "error", "what to do with rows without text or label, or torn by a line break", choices=("error", "drop")
    )
    clean: list[str] = setting(
        [],
        "html: tags become a space, entities characters; whitespace: runs become one space",
        choices=("html", "whitespace"),
    )

    def __post_init__(self) -> None:
        """Expand a leading ~ in paths, which the shell leaves alone in --flag=~/file, and YAML everywhere."""
        _expand(self, "data_dir", "train_file", "validation_file", "test_file")


@dataclass
class NspArguments(TokenizationArguments):
    """How plain text becomes documents, sentences and pairs."""

    text: list[str] = setting([], "text files, folders or globs, plain or .gz")
    encoding: str | None = setting(None, "text encoding (default: UTF-8, or what a BOM says)")
    document_unit: str = setting(
        "line",
        "what a document is: a line, a block between blank lines, or a file",
        choices=("line", "block", "file"),
    )
    sentence_splitter: str = setting(
        "sentencex",
        "sentencex knows abbreviations; period cuts at every full stop; line takes one sentence a line",
        choices=("sentencex", "period", "line"),
    )
    language: str = setting("en", "language of the text for sentencex, as a two-letter code")
    pairs: str = setting(
        "all",
        "every neighbouring pair; one random pair a document; or segments packed to --max_seq_length",
        choices=("all", "one_per_document", "segments"),
    )
    short_seq_probability: float = setting(
        0.1, "share of segments packed to a shorter, random length", minimum=0, maximum=1
    )
    negatives: str = setting(
        "other_document",
        "where the sentence that does not follow comes from; any is a bag of all sentences, true next ones included",
        choices=("other_document", "same_document", "any"),
    )
    negative_fraction: float = setting(
        0.5, "share of pairs that do not follow (of segments: at least)", minimum=0.01, maximum=0.99
    )
    validation_fraction: float = setting(0.1, "share of documents to report on", minimum=0, maximum=0.9)
    selection_fraction: float = setting(
        0.0, "share of documents to choose the best epoch by; never reported", minimum=0, maximum=0.9
    )
    test_fraction: float = setting(0.0, "share of documents kept as a second report split", minimum=0, maximum=0.9)
    split_seed: int = setting(
        42, "seed of the document split and of the pairs, apart from --seed", minimum=0, maximum=2**32 - 1
    )
    max_train_samples: int | None = setting(None, "use at most this many training pairs", minimum=1)
    max_eval_samples: int | None = setting(None, "use at most this many pairs of each other split", minimum=1)

    objective: str = setting(
        "nsp", "next sentences, masked words, or both (how BERT was trained)", choices=("nsp", "mlm", "nsp+mlm")
    )
    mlm_probability: float = setting(0.15, "share of words masked", minimum=0.01, maximum=0.9)
    whole_word_masking: bool = setting(False, "mask all pieces of a word together")
    from_scratch: bool = setting(False, "begin with random weights")
    model_config: dict[str, str] = setting(
        {}, "with --from_scratch: hidden_size=256 num_attention_heads=4… (BERT's configuration)"
    )
    train_tokenizer: int | None = setting(
        None, "with --from_scratch: learn a WordPiece vocabulary of this size from the text", minimum=100
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
    cache_dir: str | None = setting(None, "folder for what is downloaded or tokenized")
    trust_remote_code: bool = setting(False, "allow code from the model's repository to run on this machine")
    use_fast_tokenizer: bool = setting(True, "use the tokenizer written in Rust")
    ignore_mismatched_sizes: bool = setting(False, "replace a head whose size does not fit instead of stopping")
    classifier_dropout: float | None = setting(None, "dropout before the classifier", minimum=0, maximum=0.99)
    new_head: bool = setting(False, "start with a new head, whatever head the model has; its encoder and pooler stay")
    reinit_layers: int | None = setting(
        None, "re-initialise the pooler and this many top layers (0: the pooler alone)", minimum=0
    )
    freeze_encoder: bool = setting(False, "freeze the encoder: train only the classifier (and pooler)")
    freeze_embeddings: bool = setting(False, "freeze the embeddings")
    lora_rank: int | None = setting(
        None, "LoRA rank: train an adapter of this rank instead of the encoder's weights (needs peft)", minimum=1
    )
    lora_alpha: int | None = setting(None, "scale of the adapter, over its rank (default: twice the rank)", minimum=1)
    lora_dropout: float = setting(0.0, "dropout before the adapter", minimum=0, maximum=0.99)
    lora_target_modules: list[str] = setting(
        [], "linear modules to adapt, for example query value (default: all of them)"
    )
    class_weights: str = setting("none", "weigh the loss of each class by 1/frequency", choices=("none", "balanced"))

    def __post_init__(self) -> None:
        """Expand a leading ~, as the other arguments do."""
        _expand(self, "cache_dir")

    @property
    def names(self) -> tuple[str | None, ...]:
        """What is loaded: model, configuration and tokenizer, as named."""
        return self.model_name_or_path, self.config_name, self.tokenizer_name


@dataclass
class RunArguments:
    """How the run behaves around Trainer: precision, stopping, resuming, what it prints."""

    precision: str = setting(
        "auto",
        "auto: bf16 on GPUs that have it and on CPUs with AMX or AVX-512 BF16, else fp32",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    layerwise_lr_decay: float = setting(
        1.0,
        "multiply the learning rate by this at each step down from the head to the embeddings",
        above=0,
        maximum=1,
    )
    lora_merge: bool = setting(False, "add the adapter of --lora_rank to the weights: the run is an ordinary model")
    early_stopping_patience: int | None = setting(
        None, "stop after this many evaluations without a better --metric_for_best_model", minimum=1
    )
    early_stopping_threshold: float = setting(0.0, "what counts as better", minimum=0)
    resume: str = setting("never", "continue a stopped run: never, auto (if there is one), must, or a checkpoint")
    overwrite_output_dir: bool = setting(False, "replace an earlier run in --output_dir; other files there stay")
    metric_batch_size: int | None = setting(
        None, "also list the metric of each consecutive batch of this many test rows", minimum=1
    )
    published: dict[str, float] = setting(
        {}, "published values to show beside ours: matthews_correlation=0.5653 (same metric names)", numeric=True
    )
    published_split: str | None = setting(None, "split they belong to (default: the first one reported)")
    published_source: str | None = setting(None, "where they come from: model, split, seeds, document")
    print_parameters: bool = setting(False, "print every parameter of the model with its shape and stop")
    print_config: bool = setting(False, "print the resolved run as a recipe and stop")


def dataclass_flags(cls: type) -> list[Flag]:
    """Return the flags of one of our argument dataclasses, in order."""
    hints, group = typing.get_type_hints(cls), cls.__name__.removesuffix("Arguments").lower()
    flags = []
    for item in dataclasses.fields(cls):
        kind, many = _kind_of_type(hints[item.name])
        default = item.default if item.default is not dataclasses.MISSING else item.default_factory()  # type: ignore[operator]
        flags.append(Flag(item.name, kind, many, default, group=group, **item.metadata))
    return flags


def _kind_of_type(hint: Any) -> tuple[Kind, bool]:
    """Map a type hint of ours (`int | None`, `list[str]`, `dict[str, str]`) to a flag's kind."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in hint.__args__ if part is not type(None))
    origin = typing.get_origin(hint)
    if origin is list:
        return _kind_of_type(typing.get_args(hint)[0])[0], True
    if origin is dict:
        return "dict", True
    return typing.cast(Kind, hint.__name__), False
