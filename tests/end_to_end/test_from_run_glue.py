"""Every command on the right of docs/from-run-glue.md runs, on small data of the form that it names."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub, in_its_world
from running import ROOT, drawing, labelled_sentences, read_json, write_lines

import run_classification
from bertlab.training import output_dir

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "from-run-glue.md").read_text(encoding="utf-8")
ROWS = [
    re.split(r"(?<!\\) \| ", line.strip("| "))
    for line in PAGE.splitlines()
    if re.match(r"\| `(python|accel|torch)", line)
]
COMMANDS = [(old, re.findall(r"`([^`]+)`", new)) for old, new, _ in ROWS]
# What the page says runs here; the rest is what the user's machine decides.
QUICK = "--max_seq_length 32 --max_steps 1 --use_cpu --precision fp32 --disable_tqdm"
MODELS = (
    "bert-base-cased",
    "bert-base-uncased",
    "bert-base-multilingual-cased",
    "bert-large-uncased-whole-word-masking",
)
PAIRS = [(text, f"{text} again", label) for text, label in labelled_sentences(12, seed=7, names=(0, 1))]


def test_the_page_has_the_commands_of_readmes_and_tests():
    assert len(COMMANDS) == 13
    assert all(new for _, new in COMMANDS)
    assert {re.search(r"run_\w+\.py", old)[0] for old, _ in COMMANDS} == {
        *("run_glue.py", "run_classification.py", "run_glue_no_trainer.py", "run_xnli.py"),
        *("run_flax_glue.py", "run_text_classification.py"),
    }


@pytest.fixture(scope="module")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Iterator[LocalHub]:
    """Enter a folder with the files that the commands name, and serve the models and data sets that they name."""
    folder = tmp_path_factory.mktemp("from-run-glue")
    with in_its_world(folder) as served, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _write_files(folder, write_csv)
        names = [
            *(f"google-bert/{name}" for name in MODELS),
            *(f"distilbert/distilbert-base-{c}cased" for c in ("", "un")),
        ]
        served.repositories |= dict.fromkeys(names, tiny_model)
        served.repositories |= _data_sets(folder / "hub")
        yield served


@pytest.mark.parametrize("commands", [new for _, new in COMMANDS], ids=[shlex.split(old)[1] for old, _ in COMMANDS])
def test_each_command_runs(commands: list[str], world: LocalHub, tmp_path: Path) -> None:
    for command in commands:
        launcher, _, flags = command.partition("run_classification.py ")
        assert launcher in ("python ", "accelerate launch ", "torchrun --nproc_per_node 8 ")
        # What the page writes to /tmp goes into a folder of this test's own, so that tests do not meet there.
        argv = [word.replace("/tmp/", f"{tmp_path}/") for word in shlex.split(flags)]
        folder = Path(argv[argv.index("--output_dir") + 1])
        with drawing(False):
            assert run_classification.main([*_without(argv, QUICK), *shlex.split(QUICK)]) == 0
        assert (folder / output_dir.FINISHED).is_file()
        assert {"train_loss", "eval_loss", "test_loss", "test_accuracy"} & read_json(folder / "all_results.json").keys()


def _without(argv: list[str], flags: str) -> list[str]:
    """Return a command line without flags that others replace."""
    replaced = {word for word in flags.split() if word.startswith("--")}
    kept, skip = [], False
    for word in argv:
        skip = (
            word.split("=")[0] in replaced
            or word in ("--max_length", "--num_train_epochs")
            or (skip and word[0] != "-")
        )
        kept += [] if skip else [word]
    return kept


def _write_files(folder: Path, write_csv: Any) -> None:
    fixtures = folder / "tests" / "fixtures" / "tests_samples" / "MRPC"
    for name in ("train", "dev"):
        write_csv(fixtures / f"{name}.csv", ("sentence1", "sentence2", "label"), PAIRS)
    reviews = [(text, text, "book", 1 + row % 5) for row, (text, *_) in enumerate(PAIRS)]
    for name in ("train", "validation"):
        columns = ("review_title", "review_body", "product_category", "stars")
        write_csv(folder / "amazon_reviews_en" / f"{name}.csv", columns, reviews)
    (folder / "reuters21578").mkdir()
    for name in ("train", "test"):
        topics = [{"text": text, "topics": ["grain", "corn"][: 1 + label]} for text, _, label in PAIRS]
        write_lines(folder / "reuters21578" / f"{name}.jsonl", topics)
    for name in ("training_data", "validation_data", "data_to_predict"):
        write_lines(folder / f"{name}.json", [{"sentence": text, "label": label} for text, _, label in PAIRS])
    mrpc = folder / "glue_data" / "MRPC"
    header, rows = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"), enumerate(PAIRS)
    lines = ["\t".join(header), *(f"{label}\t{n}\t{n}\t{first}\t{second}" for n, (first, second, label) in rows)]
    mrpc.mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (mrpc / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _data_sets(folder: Path) -> dict[str, Path]:
    """Write what is on the Hub: Parquet files with class labels, a folder for each configuration."""
    mnli = ("train", "validation_matched", "validation_mismatched")
    nli = ("entailment", "neutral", "contradiction")
    texts, pair = ("text",), ("premise", "hypothesis")
    usual = ("train", "validation", "test")
    contents = {
        "nyu-mll/glue": {
            "mrpc": (usual, ("sentence1", "sentence2"), ("not_equivalent", "equivalent")),
            "mnli": (mnli, pair, nli),
        },
        "stanfordnlp/imdb": {"plain_text": (("train", "test", "unsupervised"), texts, ("neg", "pos"))},
        "facebook/xnli": dict.fromkeys(("en", "de"), (usual, pair, nli)),
    }
    for name, configurations in contents.items():
        for configuration, (splits, columns, classes) in configurations.items():
            for split in splits:
                _write_parquet(folder / name / configuration / f"{split}.parquet", columns, classes)
        listed = "".join(
            f"- config_name: {configuration}\n  data_files:\n"
            + "".join(f"  - {{split: {split}, path: {configuration}/{split}.parquet}}\n" for split in splits)
            for configuration, (splits, *_) in configurations.items()
        )
        (folder / name / "README.md").write_text(f"---\nconfigs:\n{listed}---\n", encoding="utf-8")
    return {f"datasets/{name}": folder / name for name in contents}


def _write_parquet(path: Path, columns: tuple[str, ...], classes: tuple[str, ...]) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    path.parent.mkdir(parents=True, exist_ok=True)
    features = Features({**dict.fromkeys(columns, Value("string")), "label": ClassLabel(names=list(classes))})
    rows = {name: [pair[index] for pair in PAIRS] for index, name in enumerate(columns)}
    labels = [row % len(classes) for row in range(len(PAIRS))]
    Dataset.from_dict({**rows, "label": labels}, features=features).to_parquet(path)
