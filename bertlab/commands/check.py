"""`python -m bertlab check`: what is wrong with the data, before a score hides it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bertlab import hub
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments, setting
from bertlab.cli.entry_point import entry_point
from bertlab.console import counted, say
from bertlab.data import sources, summary
from bertlab.data.dataset import Data, text_columns
from bertlab.data.findings import Finding, find_problems
from bertlab.models import loading

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

USAGE = """bertlab check: look at the data with the flags of a training run.

    bertlab check --task cola --data_dir glue_data/CoLA
    bertlab check --train_file reviews.csv --text_column_names content \\
        --label_column_name score --strict \\
        --model_name_or_path google-bert/bert-base-uncased"""

# The tokens of every row are counted in a split of up to so many characters, which takes a second or two; in a longer
# one those of random rows of about as many, and of no fewer rows than these.
SAMPLE_CHARACTERS = 3_000_000
SAMPLE_ROWS = 2_000
# The suggested maximum truncates no more than one row in a hundred.
NOT_TRUNCATED = 0.99
UNKNOWN_SHOWN = 12


@dataclass
class CheckArguments:
    """How the command exits."""

    strict: bool = setting(False, "end with exit status 1 when something would make a score wrong")


GROUPS = (CheckArguments, DataArguments, ModelArguments, RunArguments)


@dataclass(frozen=True)
class Tokens:
    """What tokenizing (a sample of) a split shows: untruncated lengths, and characters that become unknown tokens."""

    rows: int
    lengths: np.ndarray
    unknown_rows: int
    unknown_share: float
    unknown_characters: list[tuple[str, int]]


def count_tokens(split: "Dataset", tokenizer: "PreTrainedTokenizerBase", seed: int = 0) -> Tokens:
    """Return token counts of a split, before truncation; of a long one on random rows, see SAMPLE_CHARACTERS."""
    texts = text_columns(split.select(_sampled_rows(split, seed))[:])
    ids = tokenizer(*texts, truncation=False, return_attention_mask=False, verbose=False)["input_ids"]
    rows = [row for row, tokens in enumerate(ids) if tokenizer.unk_token_id in tokens]
    characters = Counter(char for row in rows for column in texts for char in set(column[row]))
    unknown = [(c, n) for c, n in characters.most_common() if not c.isspace() and _is_unknown(c, tokenizer)]
    lengths = np.array([len(tokens) for tokens in ids])
    share = sum(tokens.count(tokenizer.unk_token_id) for tokens in ids) / lengths.sum()
    return Tokens(len(split), lengths, len(rows), share, unknown[:UNKNOWN_SHOWN])


def _sampled_rows(split: "Dataset", seed: int) -> np.ndarray:
    """Return the numbers of the rows whose tokens are counted, in order."""
    order = np.random.default_rng(seed).permutation(len(split))
    texts = text_columns(split.select(order[:SAMPLE_ROWS])[:])
    characters = sum(len(text) for column in texts for text in column)
    return np.sort(order[: max(SAMPLE_ROWS, SAMPLE_ROWS * SAMPLE_CHARACTERS // max(1, characters))])


def padding_waste(lengths: np.ndarray, batch: int, max_length: int) -> dict[str, float]:
    """Return the fraction of tokens that is padding under each strategy, for rows truncated to `max_length`."""
    from bertlab.training.sampling import LengthGroupedOrder, padding_share

    truncated = np.minimum(lengths, max_length)
    random = np.random.default_rng(0).permutation(len(truncated))
    grouped = np.fromiter(LengthGroupedOrder(truncated, batch, seed=0), dtype=np.int64)
    return {
        "to the maximum": padding_share(truncated, random, batch, max_length),
        "to the longest of a random batch": padding_share(truncated, random, batch),
        "grouped by length (the default)": padding_share(truncated, grouped, batch),
    }


def suggested_length(lengths: np.ndarray, longest: int) -> int:
    """Return the smallest multiple of 8 that truncates few rows, see NOT_TRUNCATED; at most the model's positions."""
    needed = int(np.quantile(lengths, NOT_TRUNCATED, method="higher"))
    return min(longest, -(-needed // 8) * 8)


@entry_point
def main(argv: Sequence[str]) -> int:
    """Print the data report; return 1 with --strict when something would make a score wrong."""
    arguments = parser.parse(argv, GROUPS, USAGE)
    data_args, model_args = arguments[DataArguments], arguments[ModelArguments]
    if data_args.on_missing == "error" and "on_missing" not in arguments.invocation.given:
        data_args.on_missing = "drop"
    sources.check_exists(data_args)
    loading.check_exists(model_args)
    data_name = sources.hub_name(data_args), data_args.dataset_config_name
    hub.go_offline_if_unreachable(*model_args.names, dataset=data_name, cache_dir=model_args.cache_dir)
    from bertlab.data import dataset, input_length
    from bertlab.evaluation import metrics

    given_length = data_args.max_seq_length if "max_seq_length" in arguments.invocation.given else None
    config, tokenizer = loading.load_config_and_tokenizer(model_args, given_length)
    data = dataset.load_splits(
        data_args,
        loading.class_names(config),
        training=False,
        cache_dir=model_args.cache_dir,
        token=model_args.token,
    )
    metrics.check_metrics(data.metrics, data.schema.kind, data.schema.size)
    batch = arguments.training["per_device_train_batch_size"]
    longest = input_length.longest_input(tokenizer, config)
    _print_report(data, tokenizer, min(data_args.max_seq_length, longest), batch, longest)
    findings = [*_dropped(data, " or in --drop_labels" * bool(data_args.drop_labels)), *find_problems(data)]
    say()
    for finding in findings:
        say(f"{'WRONG' if finding.wrong else 'info '}  {finding.text}")
    if not findings:
        say("No empty, repeated, contradictory or leaked texts.")
    return 1 if arguments[CheckArguments].strict and any(finding.wrong for finding in findings) else 0


def _dropped(data: Data, also: str) -> list[Finding]:
    """Return how many rows were left out; training says so when it leaves them out."""
    what = (f"row that is incomplete or ragged{also} was", f"rows that are incomplete or ragged{also} were")
    return [Finding(f"{name}: {counted(rows, *what)} left out.") for name, rows in data.dropped.items()]


def _print_report(data: Data, tokenizer: "PreTrainedTokenizerBase", max_length: int, batch: int, longest: int) -> None:
    from bertlab.data import tokenization

    tokens = {name: count_tokens(split, tokenizer) for name, split in data.splits.items()}
    summaries = {
        name: summary.summarize_split(split, tokens[name].lengths, data.schema, max_length)
        for name, split in data.splits.items()
    }
    summary.print_summaries(summaries, max_length)
    for name, found in tokens.items():
        if len(found.lengths) < found.rows:
            say(f"{name}: tokens were counted on {len(found.lengths):,} random rows of {found.rows:,}.")
        if found.unknown_rows:
            shown = " ".join(f"{char} ({count})" for char, count in found.unknown_characters)
            rows_and_share = f"{found.unknown_rows} rows, {found.unknown_share:.1%} of the tokens"
            say(f"{name}: characters become unknown tokens ({rows_and_share}): {shown or '?'}")
            tokenization.warn_of_unknown(found.unknown_share, f"{name}: ")
    lengths = tokens[data.train or next(iter(tokens))].lengths
    say(f"\nsuggested: --max_seq_length {suggested_length(lengths, longest)}")
    say(f"padding in batches of {batch}, as a fraction of all tokens:")
    for strategy, waste in padding_waste(lengths, batch, max_length).items():
        say(f"  {strategy:<34} {waste:6.1%}")


def _is_unknown(char: str, tokenizer: "PreTrainedTokenizerBase") -> bool:
    return tokenizer.unk_token_id in tokenizer(char, add_special_tokens=False)["input_ids"]
