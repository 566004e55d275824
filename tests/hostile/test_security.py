"""What no data, model or checkpoint may do: run code, leave its folder, fill the memory, tell a secret."""

import csv
import gzip
import io
import json
import os
import pickle
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import SCRIPT, finished_run
from hypothesis import given
from hypothesis import strategies as st
from running import classify, labelled_sentences, predict, read_json, to_argv, variant
from safetensors.torch import load_file, save_file

import run_nsp
from bertlab import console
from bertlab.__main__ import main as bertlab
from bertlab.data import files
from bertlab.io import escape_formula, unescape_formula
from bertlab.report import html, model_card
from bertlab.report.run_folder import RunFolder

TOKEN, HUB_TOKEN, WANDB, ENVIRONMENT = (
    f"{kind}{'x1Y2z3' * 5}" for kind in ("hf_first", "hf_second", "wandbkey", "hf_third")
)
UMASK = 0o027
FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x.y")', "\t=1", "\r=1", "＝1+1")
HARMLESS = ("-0.5", "+1", "1e-3", "-1.5E+10", "-", "+", "@", "=", "", "it's", "'quoted'", "a=b", "５")
TABLE = [(f"{FORMULAS[i % 8].strip()} the {word}", ("=A1", "-2")[i % 2]) for i, word in enumerate("abcd" * 8)]


class Trap:
    """A pickle that leaves a file behind where it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str, ...]]:
        return os.mkdir, (str(self.marker),)


@dataclass(frozen=True)
class Run:
    """A finished run of formulas as texts and labels, given four tokens, under a umask of its own."""

    folder: Path
    settings: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Run:
    folder = tmp_path_factory.mktemp("security")
    rows = write_csv(folder / "rows.csv", ("text", "label"), TABLE)
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"token: {TOKEN}\nnum_train_epochs: 2\nsave_total_limit: 2\n", encoding="utf-8")
    settings = {"config": recipe, "train_file": rows, "validation_file": rows, "hub_token": HUB_TOKEN}
    settings["model_name_or_path"] = tiny_model
    printed, before = io.StringIO(), os.umask(UMASK)
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
            patch.setenv("HF_TOKEN", ENVIRONMENT)
            patch.setenv("WANDB_API_KEY", WANDB)
            assert classify(folder / "run", **settings) == 0, printed.getvalue()
    finally:
        os.umask(before)
    return Run(folder / "run", settings, printed.getvalue())


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-has-run"


@pytest.fixture
def rows(tmp_path: Path, write_csv) -> Path:
    return write_csv(tmp_path / "rows.csv", ("text", "label"), labelled_sentences(16, seed=6))


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[[int], str]:
    """Return a function that takes an exit status, which must be 2, and returns the one line of error."""

    def line(status: int) -> str:
        printed = capfd.readouterr().err
        assert status == 2, printed
        assert "Traceback" not in printed
        (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        return error

    return line


# Code in models


def _ways_to_load(model: Path, rows: Path, out: Path) -> dict[str, Callable[[], int]]:
    """Every command that opens a model."""
    text = rows.with_name("text.txt")
    text.write_text("A sentence is here. Another one follows it. A third one ends it.\n" * 20, encoding="utf-8")
    return {
        "train": lambda: classify(out, train_file=rows, validation_file=rows, model_name_or_path=model),
        "nsp": lambda: run_nsp.main(to_argv({"text": text, "model_name_or_path": model, "output_dir": out})),
        "check": lambda: bertlab(["check", *to_argv({"train_file": rows, "model_name_or_path": model})]),
        "predict": lambda: predict(model, "--text", "a good book"),
    }


@pytest.fixture
def model_with_code(tiny_model: Path, tmp_path: Path, marker: Path) -> Path:
    """Return a classifier whose configuration names a class in a file beside it, which leaves the marker."""
    folder = variant(tiny_model, tmp_path / "model", architectures=["BertForSequenceClassification"], num_labels=2)
    (folder / "trap.py").write_text(
        f"import pathlib\npathlib.Path({str(marker)!r}).mkdir(exist_ok=True)\n"
        "from transformers import BertConfig, BertForSequenceClassification\n"
        "class Own(BertConfig):\n    model_type = 'bert'\n",
        encoding="utf-8",
    )
    _edit(folder / "config.json", auto_map={"AutoConfig": "trap.Own"})
    return folder


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**read_json(path), **values}), encoding="utf-8")


@pytest.mark.parametrize("way", ["train", "nsp", "check", "predict"])
def test_a_model_with_code_of_its_own_is_refused(way, model_with_code, rows, tmp_path, marker, refused) -> None:
    _edit(model_with_code / "config.json", model_type="somebodys-own")
    error = refused(_ways_to_load(model_with_code, rows, tmp_path / "run")[way]())
    assert "names code of its own in its configuration (auto_map), which would run on this machine" in error
    assert "--trust_remote_code" in error
    assert not marker.exists()
    assert not (tmp_path / "run").exists()


def test_of_a_model_type_that_transformers_has_its_own_class_is_used(
    model_with_code, rows, tmp_path, marker, capfd
) -> None:
    assert _ways_to_load(model_with_code, rows, tmp_path / "run")["train"]() == 0
    assert "names code of its own (auto_map), which is not run: transformers has Bert" in capfd.readouterr().err
    assert not marker.exists()
    assert "auto_map" not in read_json(tmp_path / "run" / "config.json")


def test_but_not_where_that_class_lacks_weights(model_with_code, rows, tmp_path, marker, refused) -> None:
    weights = load_file(model_with_code / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "position_embeddings" not in name}
    save_file(kept, model_with_code / "model.safetensors", metadata={"format": "pt"})
    error = refused(_ways_to_load(model_with_code, rows, tmp_path / "run")["train"]())
    assert "names code of its own in its configuration (auto_map), which would run on this machine" in error
    assert not marker.exists()


def test_a_tokenizer_with_code_of_its_own_is_refused(model_with_code, rows, tmp_path, marker, refused) -> None:
    config = read_json(model_with_code / "config.json")
    del config["auto_map"]
    (model_with_code / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _edit(model_with_code / "tokenizer_config.json", auto_map={"AutoTokenizer": ["trap.Own", None]})
    assert "names code of its own" in refused(predict(model_with_code, "--text", "a good book"))
    assert not marker.exists()


def test_the_trap_works_where_code_is_allowed(model_with_code, marker) -> None:
    """Or the tests above would pass with any file."""
    predict(model_with_code, "--trust_remote_code", "--text", "a good book")
    assert marker.is_dir()


@pytest.mark.parametrize("way", ["train", "nsp", "predict"])
def test_pickled_weights_are_never_opened(way, tiny_model, rows, tmp_path, marker, refused) -> None:
    model = variant(tiny_model, tmp_path / "model", architectures=["BertForSequenceClassification"], num_labels=2)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(marker)))
    error = refused(_ways_to_load(model, rows, tmp_path / "run")[way]())
    assert "holds pickled weights only (pytorch_model.bin); they can run code" in error
    assert not marker.exists()


def test_pickles_beside_a_model_are_never_opened(run: Run, rows, tmp_path, marker) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "pytorch_model.bin", "rng_state.pth"):
        (tmp_path / "run" / name).write_bytes(pickle.dumps(Trap(marker)))
    for way in ("check", "predict"):
        assert _ways_to_load(tmp_path / "run", rows, tmp_path)[way]() == 0
    assert bertlab(["report", str(tmp_path / "run")]) == 0
    assert not marker.exists()


def test_a_checkpoint_cannot_run_code(run: Run, tmp_path, marker, refused) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoint-2")
    checkpoint = tmp_path / "run" / "checkpoint-1"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        whole = (checkpoint / name).read_bytes()
        torch.save(Trap(marker), checkpoint / name)  # a whole archive, with the trap as its content
        assert "it could run code" in refused(classify(tmp_path / "run", **run.settings, resume="must"))
        assert not marker.exists()
        torch.load(checkpoint / name, weights_only=False)
        marker.rmdir()
        (checkpoint / name).write_bytes(whole)


# Code in data


@pytest.mark.parametrize("name", ["rows.py", "rows.pkl", "rows.pickle", "rows.pt", "rows.npy", "rows.joblib"])
def test_data_that_would_run_is_not_opened(name, tiny_model, tmp_path, marker, refused) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Trap(marker)))
    error = refused(classify(tmp_path / "run", train_file=tmp_path / name, model_name_or_path=tiny_model))
    assert f"{tmp_path / name} is a script or a pickle; opening one can run any code" in error
    assert "Save the rows as .csv" in error
    assert not marker.exists()


@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_loading_script_is_not_run(named, tiny_model, tmp_path, marker, refused) -> None:
    script = tmp_path / "loader" / "loader.py"
    script.parent.mkdir()
    script.write_text(f"import os\nos.mkdir({str(marker)!r})\n", encoding="utf-8")
    name = script.parent if named == "folder" else script
    error = refused(classify(tmp_path / "run", dataset_name=name, model_name_or_path=tiny_model))
    assert f"--dataset_name {name} is a loading script; a script could run any code, so none is ever run." in error
    assert "--train_file" in error
    assert not marker.exists()


# Archives


def _zip_with(name: str, link: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        item = zipfile.ZipInfo(name)
        item.external_attr = ((stat.S_IFLNK if link else stat.S_IFREG) | 0o644) << 16
        archive.writestr(item, "/etc/passwd" if link else "text,label\na,b\n")
    return stream.getvalue()


ARCHIVES = {
    "parent": ("rows.csv.zip", lambda: _zip_with("../rows.csv"), "a path that leads out of the archive"),
    "absolute": ("rows.csv.zip", lambda: _zip_with("/etc/rows.csv"), "a path that leads out of the archive"),
    "drive": ("rows.csv.zip", lambda: _zip_with("C:\\rows.csv"), "a path that leads out of the archive"),
    "link": ("rows.csv.zip", lambda: _zip_with("rows.csv", link=True), "which is a link or a device, not a file"),
    "bomb-gz": ("rows.csv.gz", lambda: gzip.compress(b"text,label\n" + b"a" * 3_000_000), "200 times its size"),
    "bomb-zip": ("rows.csv.zip", lambda: _packed(b"text,label\n" + b"a" * 3_000_000), "200 times its size"),
    "gz-in-gz": ("rows.csv.gz", lambda: gzip.compress(gzip.compress(b"text,label\na,b\n")), "is packed with gzip"),
}


def _packed(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", data)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_is_no_data_is_refused(kind, tiny_model, tmp_path, refused, monkeypatch) -> None:
    monkeypatch.setattr(files, "BOMB_BYTES", 1 << 20)  # a gigabyte takes seconds to unpack
    name, content, problem = ARCHIVES[kind]
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(content())
    error = refused(classify(tmp_path / "run", train_file=path, model_name_or_path=tiny_model))
    assert str(path) in error
    assert problem in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


# Tables and pages


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    assert escape_formula(text) == f"'{text}"
    assert unescape_formula(escape_formula(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_formula_stays(text: str) -> None:
    assert escape_formula(text) == text == unescape_formula(text)


@given(st.text(st.sampled_from("'=+-@\t\r\n1.eEa ＝") | st.characters(), max_size=8))
def test_every_cell_comes_back_as_it_was(text: str) -> None:
    assert unescape_formula(escape_formula(text)) == text
    assert escape_formula(text)[:1] not in tuple("=+-@\t\r＝") or len(text) == 1 or _is_number(text)


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        return float(text) == float(text) and "n" not in text.casefold()
    return False


def test_tables_guard_texts_and_labels_and_give_them_back(run: Run, tmp_path, capsys) -> None:
    read = RunFolder.read(run.folder)
    assert read.predictions("validation").labels == [label for _, label in TABLE]
    assert read.misclassified["validation"]
    assert all((row.text, row.label) == TABLE[int(row.idx)] for row in read.misclassified["validation"])
    assert predict(run.folder, "--file", run.settings["train_file"], "--format", "tsv") == 0
    (tmp_path / "predicted.tsv").write_text(capsys.readouterr().out, encoding="utf-8")
    folders = (run.folder / "misclassified" / "validation.tsv", run.folder / "predictions" / "validation.tsv")
    for path in (*folders, tmp_path / "predicted.tsv"):
        with path.open(encoding="utf-8", newline="") as stream:
            cells = {cell for row in csv.reader(stream, delimiter="\t") for cell in row}
        assert not {cell for cell in cells if cell.startswith(("=", "+", "@", "＝"))}
        assert {cell for cell in cells if cell.startswith("-")} <= {"-2"}


def test_names_of_all_kinds_are_shown_and_never_run(tmp_path) -> None:
    """Texts and class names are tested with the page; here settings, versions and the recipe's name."""
    settings = {"model_name_or_path": SCRIPT, "train_file": SCRIPT, "published_source": SCRIPT}
    folder = finished_run(tmp_path / "run", configuration=settings)
    for path in (folder / "run.json", folder / "results.json"):
        _edit(path, recipe=SCRIPT)
    _edit(folder / "run.json", versions={SCRIPT: SCRIPT}, machine={"processor": SCRIPT}, command=[SCRIPT])
    run = RunFolder.read(folder)
    source = html.render(run)
    assert source.count("<script") == 1  # our own
    assert "<img" not in source
    text = model_card.render(run).split("\n---\n", 1)[1]
    assert "<script" not in re.sub(r"(`+).*?\1", "", text, flags=re.DOTALL)  # what stands in code is shown as it is


# Secrets


def test_no_file_and_no_line_tells_a_token(run: Run, tmp_path, capfd) -> None:
    assert classify(tmp_path / "other", **run.settings, print_config=True) == 0
    assert bertlab(["predict", str(run.folder), "--token", TOKEN, "--text", "a good book"]) == 0
    printed = run.printed + "".join(capfd.readouterr())
    written = {str(path): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert any("checkpoint-" in name for name in written)
    assert not [name for name in written if name.endswith("training_args.bin")]
    for token in (TOKEN, HUB_TOKEN, WANDB, ENVIRONMENT):
        assert token not in printed
        assert not [name for name, content in written.items() if token.encode() in content]
    command = read_json(run.folder / "run.json")["command"]
    assert command[command.index("--hub_token") + 1] == "***"


@pytest.mark.parametrize(
    "argv",
    [
        ["--token", TOKEN, "--token", HUB_TOKEN],
        ["--token", TOKEN, HUB_TOKEN],
        [f"--token={TOKEN}", "--learning_rate", TOKEN],
        ["--use_auth_token", "s3cr3t-of-another-form", "--num_train_epochs", "s3cr3t-of-another-form"],
        [TOKEN],
        ["--model_name_or_path", f"https://user:{TOKEN}@huggingface.co/x/y"],
    ],
)
def test_no_error_tells_a_token(argv: list[str], rows, tmp_path, refused) -> None:
    import run_classification

    files = to_argv({"train_file": rows, "output_dir": tmp_path / "run"})
    error = refused(run_classification.main([*([] if argv[0] == TOKEN else files), *argv]))
    assert not [token for token in (TOKEN, HUB_TOKEN, "s3cr3t-of-another-form") if token in error]


def test_a_token_is_hidden_in_its_command_and_in_no_later_one(capsys) -> None:
    secret = "no_such_model"
    assert bertlab(["predict", secret, "--token", secret, "--text", "a"]) == 2
    error = capsys.readouterr().err
    assert secret not in error and "***" in error
    assert console.redact(secret) == secret


def test_a_header_that_a_library_quotes_is_hidden() -> None:
    hidden = console.redact("Illegal header value b'Bearer abc def' via http://user:pass@proxy:80, token hf_abcdefgh12")
    assert hidden == "Illegal header value b'Bearer *** def' via http://***@proxy:80, token ***"


# Files


def test_files_follow_the_umask(run: Run) -> None:
    """Neither more than it allows nor less: a group that works together reads each other's runs."""
    written = [run.folder, *run.folder.rglob("*")]
    assert len(written) > 20
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in written}
    expected = {0o777 & ~UMASK, 0o666 & ~UMASK}
    assert not {name: oct(mode) for name, mode in modes.items() if mode not in expected}
