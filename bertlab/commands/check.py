"""`python -m bertlab check`: what is wrong with the data, before a score hides it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab import hub
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments, setting
from bertlab.cli.entry_point import entry_point
from bertlab.console import say, table
from bertlab.data import sources
from bertlab.data.dataset import text_columns
from bertlab.data.findings import find_problems

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from bertlab.data.dataset import Data

USAGE = """python -m bertlab check: look at the data with the flags of a training run.

    python -m bertlab check --task cola --data_dir glue_data/CoLA
    python -m bertlab check --train_file reviews.csv --text_column_names content --label_column_name score \\
        --model_name_or_path google-bert/bert-base-uncased --strict"""

# Tokens are counted of every row of a split of up to so many characters, which takes a second or two; of a longer one
# on random rows of about as many, and on no fewer rows than these.
SAMPLE_CHARACTERS = 3_000_000
SAMPLE_ROWS = 2_000
# The suggested maximum keeps all of this share of the rows whole.
KEPT_WHOLE = 0.99
UNKNOWN_SHOWN = 12


@dataclass
class CheckArguments:
    """How the command ends."""

    strict: bool = setting(False, "end with exit status 1 when something would make a score wrong")


GROUPS = (CheckArguments, DataArguments, ModelArguments, RunArguments)


@dataclass(frozen=True)
class Tokens:
    """What tokenization of a (sampled) split shows: lengths in tokens, and rows the tokenizer cannot express."""

    rows: int
    sampled: int
    lengths: np.ndarray
    unknown_rows: int
    unknown_characters: list[tuple[str, int]]


def count_tokens(split: "Dataset", tokenizer: "PreTrainedTokenizerBase", seed: int = 0) -> Tokens:
    """Return token counts of a split, before truncation; of a long one on random rows, see SAMPLE_CHARACTERS."""
    rows = _sampled_rows(split, seed)
    texts = text_columns(split.select(rows)[:])
    ids = tokenizer(*texts, truncation=False, return_attention_mask=False, verbose=False)["input_ids"]
    unknown = [row for row, tokens in enumerate(ids) if tokenizer.unk_token_id in tokens]
    characters: Counter[str] = Counter()
    for row in unknown:
        characters.update(char for column in texts for char in set(column[row]))
    odd = [(c, n) for c, n in characters.most_common() if not c.isspace() and _is_unknown(c, tokenizer)]
    return Tokens(len(split), len(rows), np.array([len(tokens) for tokens in ids]), len(unknown), odd[:UNKNOWN_SHOWN])


def _sampled_rows(split: "Dataset", seed: int) -> np.ndarray:
    """Return the numbers of the rows whose tokens are counted, in order."""
    order = np.random.default_rng(seed).permutation(len(split))
    texts = text_columns(split.select(order[:SAMPLE_ROWS])[:])
    characters = sum(len(text) for column in texts for text in column)
    return np.sort(order[: max(SAMPLE_ROWS, SAMPLE_ROWS * SAMPLE_CHARACTERS // max(1, characters))])


def padding_waste(lengths: np.ndarray, batch: int, max_length: int) -> dict[str, float]:
    """Return the share of tokens that is padding under each strategy, for rows cut at `max_length`."""
    from bertlab.training.sampling import LengthGroupedOrder, padding_share

    cut = np.minimum(lengths, max_length)
    random = np.random.default_rng(0).permutation(len(cut))
    grouped = np.fromiter(LengthGroupedOrder(cut, batch, seed=0), dtype=np.int64)
    return {
        "to the maximum": padding_share(cut, random, batch, max_length),
        "to the longest of a random batch": padding_share(cut, random, batch),
        "grouped by length (the default)": padding_share(cut, grouped, batch),
    }


def suggested_length(lengths: np.ndarray, longest: int) -> int:
    """Return the smallest multiple of 8 that keeps KEPT_WHOLE of the rows whole, within the model's positions."""
    wanted = int(np.quantile(lengths, KEPT_WHOLE, method="higher"))
    return min(longest, -(-wanted // 8) * 8)


@entry_point
def main(argv: Sequence[str]) -> int:
    """Print the data report; return 1 with --strict when something would make a score wrong."""
    arguments = parser.parse(argv, GROUPS, USAGE)
    data_args, model_args = arguments[DataArguments], arguments[ModelArguments]
    if data_args.on_missing == "error" and "on_missing" not in arguments.invocation.given:
        data_args.on_missing = "drop"
    hub.go_offline_if_unreachable(*model_args.names, dataset=sources.hub_name(data_args))
    from bertlab.data import dataset, input_length
    from bertlab.evaluation import metrics
    from bertlab.models import loading

    config = loading.load_config(model_args)
    tokenizer = loading.load_tokenizer(model_args)
    names = loading.class_names(config)
    loaded = dataset.load_splits(
        data_args, names, training=False, cache_dir=model_args.cache_dir, token=model_args.token
    )
    metrics.check_metrics(loaded.metrics, loaded.schema.kind, loaded.schema.size)
    findings = find_problems(loaded)
    if "max_seq_length" in arguments.invocation.given:
        input_length.check_max_length(data_args.max_seq_length, tokenizer, config)
    batch = arguments.training["per_device_train_batch_size"]
    longest = input_length.longest_input(tokenizer, config)
    _print_report(loaded, tokenizer, min(data_args.max_seq_length, longest), batch, longest)
    say()
    for finding in findings:
        say(f"{'WRONG' if finding.wrong else 'note '}  {finding.text}")
    if not findings:
        say("No empty, repeated, contradictory or leaked texts.")
    return 1 if arguments[CheckArguments].strict and any(finding.wrong for finding in findings) else 0


def _print_report(
    data: "Data", tokenizer: "PreTrainedTokenizerBase", max_length: int, batch: int, longest: int
) -> None:
    rows: list[tuple[Any, ...]] = []
    counted = {name: count_tokens(split, tokenizer) for name, split in data.splits.items()}
    for name, tokens in counted.items():
        middle, most, nearly_all = (int(np.percentile(tokens.lengths, p)) for p in (50, 95, 99))
        cut = float(np.mean(tokens.lengths > max_length))
        rows.append((name, tokens.rows, _balance(data, name), f"{middle} / {most} / {nearly_all}", f"{cut:.1%}"))
    say(table(rows, ("split", "rows", "labels", "tokens 50/95/99 %", f"cut at {max_length}")))
    for name, tokens in counted.items():
        if tokens.sampled < tokens.rows:
            say(f"{name}: tokens were counted on {tokens.sampled:,} random rows of {tokens.rows:,}.")
        if tokens.unknown_rows:
            shown = " ".join(f"{char} ({count})" for char, count in tokens.unknown_characters)
            say(f"{name}: {tokens.unknown_rows} rows have characters the tokenizer cannot express: {shown or '?'}")
    first = counted[data.train or next(iter(counted))]
    say(f"\nsuggested: --max_seq_length {suggested_length(first.lengths, longest)}")
    say(f"padding in batches of {batch}, as a share of all tokens:")
    for strategy, waste in padding_waste(first.lengths, batch, max_length).items():
        say(f"  {strategy:<34} {waste:6.1%}")


def _balance(data: "Data", name: str) -> str:
    from bertlab.data import labels

    split = data.splits[name]
    if "labels" not in split.column_names:
        return "no labels"
    if data.schema.kind != labels.SINGLE:
        return data.schema.kind.replace("_", " ")
    counts = labels.class_counts(split["labels"][:], data.schema.class_names)
    shown = [f"{label} {count} ({count / len(split):.2%})" for label, count in counts.items()]
    return ", ".join(shown[:6]) + (" …" if len(shown) > 6 else "")


def _is_unknown(char: str, tokenizer: "PreTrainedTokenizerBase") -> bool:
    return tokenizer.unk_token_id in tokenizer(char, add_special_tokens=False)["input_ids"]
