"""Whatever text and flags run_nsp.py is given, an error is one line and nothing is left behind."""

import json
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nsp_runs import paragraphs, pretrain, write_text

PLAIN = {"selection_fraction": 0, "validation_fraction": 0.2, "max_steps": 1}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.yaml"
    path.write_text("document_unit: line\n", encoding="utf-8")
    return path


@pytest.fixture
def refused(tmp_path: Path, plain: Path, tiny_model: Path, capsys) -> Callable[..., str]:
    """Return a function that runs with some settings, asserts a clean refusal and returns what it says."""

    def run(**settings: Any) -> str:
        folder = tmp_path / "run"
        given = {"config": plain, "model_name_or_path": tiny_model, **PLAIN, **settings}
        capsys.readouterr()
        assert pretrain(folder, **given) == 2
        err = capsys.readouterr().err
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "Traceback" not in err
        assert " is empty." in errors[0] or errors[0].count(". ") >= 1, "what is wrong, then the hint"
        assert not folder.exists()
        return errors[0].removeprefix("error: ")

    return run


def _text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


NOISE = random.Random(0).randbytes(4000)

TEXTS: dict[str, tuple[str | bytes, str, str]] = {
    # content, problem, hint
    "empty": ("", "text.txt is empty", "."),
    "blank": ("\n  \n\n\t\n", "text.txt has no sentence.", "Leave it out, or check that it is text."),
    "no document but one": (
        "...\n..\n",
        "the text has 2 documents: with 2 for --validation_fraction too few are left for training.",
        "Pass --negatives same_document, or give more text.",
    ),
    "one sentence": (
        "The cat sleeps.\n",
        "There is only one sentence in ",
        "Give more text; where each line is a sentence, pass --sentence_splitter line.",
    ),
    "one document": (
        "The cat sleeps. The dog walks. The sun is warm.\n",
        "the text has 1 document: with 2 for --validation_fraction too few are left for training.",
        "Pass --negatives same_document, or give more text.",
    ),
    "a sentence in each line": (
        "The cat sleeps.\nThe dog walks.\nThe sun is warm.\nThe sea is cold.\n",
        "split has no document of two or more sentences.",
        "Where each line is a sentence (verse, chat, bullets), choose --sentence_splitter line and --document_unit "
        "block, or where no blank lines part the texts, --document_unit file --negatives same_document.",
    ),
    "binary": (b"\0\1\2\3" * 500, "text.txt", "."),
    "noise": (NOISE, "text.txt", "."),
    "an archive": (b"PK\3\4" + NOISE, "text.txt", "."),
    "latin-1": ("Le café était fermé. Il pleut.\n".encode("latin-1") * 20, "text.txt", "--encoding"),
    "not gzip": (b"", "text.txt.gz", "."),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_gives_no_pairs_is_refused(name: str, refused, tmp_path: Path):
    content, problem, hint = TEXTS[name]
    path = tmp_path / ("text.txt.gz" if name == "not gzip" else "text.txt")
    if name == "not gzip":
        content = "Plain text. Not packed.\n"
    message = refused(text=_text(path, content))
    assert any(choice in message for choice in problem.split("|")), message
    assert any(choice in message for choice in hint.split("|")), message


def test_a_wrong_encoding_is_named(refused, tmp_path: Path):
    text = _text(tmp_path / "text.txt", "Über alles. Schön war es.\n".encode() * 10)
    assert "utf-88" in refused(text=text, encoding="utf-88")
    assert "text.txt" in refused(text=_text(tmp_path / "text.txt", b"caf\xe9. th\xe9.\n" * 9), encoding="ascii")


def test_a_missing_file_is_named_with_the_nearest(refused, tmp_path: Path):
    write_text(tmp_path / "meditations.txt")
    message = refused(text=tmp_path / "meditation.txt")
    assert str(tmp_path / "meditation.txt") in message
    assert "meditations.txt" in message.replace(str(tmp_path / "meditation.txt"), "")


def test_nothing_named_is_refused(refused):
    assert refused() == "no text is given. Name a file, a folder or a glob: --text book.txt."


def test_a_folder_without_text_says_what_it_holds(refused, tmp_path: Path):
    folder = tmp_path / "books"
    folder.mkdir()
    assert f"{folder} has no .txt or .txt.gz file. Name another folder, or files." in refused(text=folder)
    (folder / "notes.md").write_text("A text. Of two sentences.\n", encoding="utf-8")
    assert f"Name others by a glob: '{folder}/**/*.md'." in refused(text=folder)
    assert f"no file matches {folder}/*.rst." in refused(text=f"{folder}/*.rst")


def test_an_empty_name_is_not_the_folder_one_is_in(refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As where a script says --text "$BOOKS" and the variable is not set."""
    (tmp_path / "here").mkdir()
    write_text(tmp_path / "here" / "notes.txt")
    monkeypatch.chdir(tmp_path / "here")
    assert refused(text="").startswith("--text needs a value.")
    assert refused(text=" ") == "--text names an empty path. Name files, folders or globs; . is this folder."


def test_an_archive_is_to_be_unpacked(refused, tmp_path: Path):
    with tarfile.open(tmp_path / "books.tar.gz", "w:gz") as archive:
        archive.add(write_text(tmp_path / "notes.txt"), "notes.txt")
    message = refused(text=tmp_path / "books.tar.gz")
    assert message == f"{tmp_path / 'books.tar.gz'} is an archive of files. Unpack it and name the folder."
    assert "does not exist" in refused(text=tmp_path / "nowhere.tar.gz")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "notes.txt")


FLAGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "misspelt document unit": ({"document_unit": "blok"}, ("--document_unit", "blok", "'block'")),
    "misspelt negatives": ({"negatives": "same_documents"}, ("--negatives", "same_documents", "'same_document'")),
    "misspelt pairs": ({"pairs": "segment"}, ("--pairs", "segment", "'segments'")),
    "misspelt objective": ({"objective": "nsp+mln"}, ("--objective", "nsp+mln", "'nsp+mlm'")),
    "misspelt flag": ({"document_units": "line"}, ("--document_units", "document_unit")),
    "unknown language": ({"language": "english"}, ("english", "'en'|language")),
    "fractions too large": (
        {"validation_fraction": 0.6, "selection_fraction": 0.5},
        ("the text has 40 documents: with 24 for --validation_fraction and 20 for --selection", "Lower"),
    ),
    "fraction of everything": ({"validation_fraction": 1}, ("--validation_fraction", "0.9")),
    "unknown setting": (
        {"from_scratch": True, "model_config": ["hiden_size=8"]},
        ("BERT has no setting 'hiden_size'.", "Did you mean 'hidden_size'?"),
    ),
    "heads that do not divide": (
        {"from_scratch": True, "model_config": ["hidden_size=30", "num_attention_heads=4"]},
        ("hidden_size 30 is not a multiple of the number of heads, 4.", "num_attention_heads"),
    ),
    "no heads": (
        {"from_scratch": True, "model_config": ["num_attention_heads=0"]},
        ("num_attention_heads=0: it must be a whole number of at least 1.", "BERT-base has 12."),
    ),
    "positions too few": (
        {"from_scratch": True, "train_tokenizer": 150, "model_config": ["max_position_embeddings=16"]},
        ("--max_seq_length 32: the model has 16 positions.", "Use at most 16."),
    ),
    "a length too long": ({"max_seq_length": 65}, ("--max_seq_length 65", "Use at most 64.")),
    "a length too short": ({"max_seq_length": 4}, ("--max_seq_length 4 leaves no room", "Use at least 5.")),
    "evaluation without rows": (
        {"validation_fraction": 0, "eval_strategy": "epoch"},
        ("--eval_strategy epoch: there is no split to evaluate.", "--validation_fraction 0.1"),
    ),
    "nothing to do": (
        {"do_train": False, "validation_fraction": 0, "selection_fraction": 0},
        ("there is no split to evaluate or predict, only train.", "--validation_fraction"),
    ),
    "a model that is none": (
        {"model_name_or_path": "./nowhere"},
        ("./nowhere: no such folder.", "Name the folder of a model"),
    ),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_that_cannot_be_are_refused(name: str, refused, text: Path):
    settings, parts = FLAGS[name]
    message = refused(text=text, **settings)
    for part in parts:
        assert any(choice in message for choice in part.split("|")), message


def _model(folder: Path, config: Any, tokenizer: Path) -> Path:
    """Write an untrained model with the tiny BERT's tokenizer."""
    import torch
    from transformers import AutoModel

    with torch.random.fork_rng():
        AutoModel.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    return folder


@pytest.mark.parametrize("objective", ["nsp", "nsp+mlm"])
def test_a_model_without_a_next_sentence_head_is_refused(objective, refused, text, plain, tiny_model, tmp_path: Path):
    from transformers import RobertaConfig

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = _model(tmp_path / "roberta", RobertaConfig(vocab_size=300, **sizes), tiny_model)
    assert refused(config=plain, text=text, model_name_or_path=model, objective=objective) == (
        f"a roberta model has no head for --objective {objective}. "
        "NSP needs a BERT, ERNIE, MobileBERT, FNet or Megatron-BERT model."
    )


def test_mlm_needs_a_mask_token(refused, text, plain, tiny_model, tmp_path: Path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["mask_token"] = None
    (model / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    message = refused(config=plain, text=text, model_name_or_path=model, objective="nsp+mlm")
    assert message == "--objective nsp+mlm: the tokenizer has no mask token. Use --objective nsp."


def test_a_run_that_is_there_is_not_touched_by_one_that_cannot_be(text, plain, tiny_model, tmp_path: Path, capsys):
    folder = tmp_path / "earlier"
    folder.mkdir()
    (folder / "run.json").write_text("{}", encoding="utf-8")
    settings = {"config": plain, "model_name_or_path": tiny_model, **PLAIN, "overwrite_output_dir": True}
    for wrong in ({"text": tmp_path / "none.txt"}, {"text": text, "objective": "nsp", "whole_word_masking": True}):
        assert pretrain(folder, **settings, **wrong) == 2
        assert capsys.readouterr().err.count("error: ") == 1
    assert {path.name for path in folder.iterdir()} == {"run.json"}


STRANGE = {
    "line separators": " One here.\u2028Two here. \u2029Three\x85four. Five\x0bsix.\n",
    "carriage returns": "One here. Two here.\r\nThree there. Four there.\r",
    "a byte order mark": "\ufeffOne here. Two here.\nThree. Four there.\n",
    "no letters": "123. 456! 789?\n!!! ??? ...\n",
    "other scripts": "今日は晴れです。明日は雨です。\nПривет. Как дела? \nمرحبا. كيف حالك؟\n",
    "a long word": f"{'a' * 3000}. {'b' * 3000}.\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STRANGE)
def test_strange_text_is_trained_on(name: str, plain: Path, tiny_model: Path, tmp_path: Path, capsys):
    lines = "\n".join(paragraphs(12))
    text = _text(tmp_path / "text.txt", STRANGE[name] + lines + "\n" + STRANGE[name])
    settings = {**PLAIN, "config": plain, "text": text, "objective": "nsp+mlm", "per_device_train_batch_size": 32}
    assert pretrain(tmp_path / "run", model_name_or_path=tiny_model, **settings) == 0
    assert "error" not in capsys.readouterr().err
