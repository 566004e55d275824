"""One case of bad input, the small world it happens in, and how it is run through the real `main`.

A case is a command line in a folder of its own. The folder holds GOOD_FILES and whatever the case puts there
or over them. `{model}` and the other names of `Models` stand for folders of models, `{here}` for the case's own.
"""

import contextlib
import errno
import hashlib
import importlib
import json
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
from nsp_runs import paragraphs
from running import classify

from bertlab.cli.flag_rules import ALIASES

Content = str | bytes | Callable[[Path], None]

THINGS = ("film", "book", "story", "song")
PAIRS = tuple((f"a {label} {thing}", label) for thing in THINGS for label in ("good", "bad"))
ROWS = "".join(f"{text},{label}\n" for text, label in PAIRS)
GOOD_FILES: dict[str, Content] = {
    "train.csv": f"text,label\n{ROWS}",
    "dev.csv": "text,label\na good dog,good\na bad dog,bad\n",
    "story.txt": "\n".join(paragraphs(20)),
    "notes.md": "nobody may touch this\n",
}
# What every command line begins with, unless the case says the same flag itself.
USUAL: dict[str, dict[str, str]] = {
    "classify": {"train_file": "train.csv"},
    "check": {"train_file": "train.csv"},
    "nsp": {"text": "story.txt"},
}
COMMON = {"model_name_or_path": "{model}", "output_dir": "out", "precision": "fp32", "use_cpu": "true"}
COMMON |= {"max_seq_length": "32", "disable_tqdm": "true"}


@dataclass(frozen=True)
class Case:
    """A command line, the parts its one error line must hold, and the files it meets.

    `notes` are the beginnings of the remarks that may stand before the error. `rows` are given for input that is
    odd and right to accept: the texts and labels read from `train.csv` or the file that `--train_file` names.
    `unreadable` names a file that this user may not read.

    `obeys` are the flags of who does what the hint says, after a colon where they are those of another command, and
    `mends` the files. Then the command is accepted, unless there is another reason to refuse it: `then` is part of it.
    "Did you mean" is obeyed without it, by correcting the word.
    """

    name: str
    flags: str
    says: tuple[str, ...]
    command: str = "classify"
    files: Mapping[str, Content] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bare: bool = False
    unreadable: str = ""
    rows: tuple[tuple[str, Any], ...] | None = None
    obeys: str | None = None
    mends: Mapping[str, Content] = field(default_factory=dict)
    then: str = ""


def refused(name: str, flags: str, *says: str, **more: Any) -> Case:
    """Return a case that must end with status 2 and one line that holds every one of `says`."""
    return Case(name, flags, says, **more)


def accepted(name: str, flags: str, rows: tuple[tuple[str, Any], ...], *says: str, **more: Any) -> Case:
    """Return a case that must be read, row for row; `says` stand in what `check` prints."""
    return Case(name, flags, says, command="check", rows=rows, **more)


# What a hint may say to type: a flag, a command, a name, a number.
PROMISE = re.compile(r"--\w|`|Did you mean|Choose from|\b(Pass|Use|Write|[Nn]ame|at least|at most|from|above) \S*\d")


class Accepted(BaseException):
    """Nothing is wrong with a run: it would make its folder and train."""


def obedient(case: Case, argv: list[str], hint: str) -> tuple[str, list[str]] | None:
    """Return the command and the command line of who obeys a hint, or None where it names nothing to type."""
    if case.obeys is not None:
        command, flags = re.fullmatch(r"(?:(\w+): )?(.*)", case.obeys).groups()  # type: ignore[union-attr]
        return command or case.command, to_argv(replace(case, command=command or case.command, flags=flags))
    if case.mends:
        return case.command, argv
    meant = re.search(r"Did you mean '(.+?)'", hint)
    assert meant or not PROMISE.search(hint), f"say what is typed by who obeys: {hint}"
    if not meant:
        return None
    likeness = [SequenceMatcher(None, word.lstrip("-"), meant[1]).ratio() for word in argv]
    wrong = likeness.index(max(likeness))
    dashes = "--" if argv[wrong].startswith("--") else ""
    return case.command, [*argv[:wrong], dashes + meant[1], *argv[wrong + 1 :]]


def write_files(folder: Path, files: Mapping[str, Content]) -> None:
    """Put files into a folder: text, bytes, or a function that makes what stands at the path."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def to_argv(case: Case) -> list[str]:
    """Return the command line of a case: the usual flags, then its own."""
    own = shlex.split(case.flags)
    names = [word[2:].split("=")[0].replace("-", "_") for word in own if word.startswith("--")]
    given = {ALIASES.get(name, name) for name in names}
    usual = {} if case.bare or case.command not in USUAL else {**USUAL[case.command], **COMMON}
    before = [word for name, value in usual.items() if name not in given for word in (f"--{name}", value)]
    return [*before, *own]


def run(command: str, argv: list[str]) -> int:
    """Call the `main` of the script or subcommand in this process and return the exit status."""
    if command in ("classify", "nsp"):
        script = importlib.import_module({"classify": "run_classification", "nsp": "run_nsp"}[command])
        return script.main(argv)
    from bertlab.__main__ import main

    return main(argv if command == "bertlab" else [command, *argv])


def run_up_to_training(command: str, argv: list[str]) -> int:
    """Call a `main` as `run` does, but end where a run would make its folder, with status 0."""

    def claimed(*_: object) -> None:
        raise Accepted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bertlab.training.output_dir.claimed", claimed)
        try:
            return run(command, argv)
        except Accepted:
            return 0


def contents(*folders: Path) -> dict[str, str]:
    """Return a digest of everything under the folders by path: bytes of files, targets of links, names of folders."""
    digests = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            link = path.is_symlink()
            data = str(path.readlink()).encode() if link else path.read_bytes() if path.is_file() else b"folder"
            digests[str(path)] = hashlib.sha256(data).hexdigest()
    return digests


def close_to_reading(patch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    """Let opening a file of the folder fail as it does for a user who may not read it.

    Tests often run as root, whom no permission bits stop: the refusal of the operating system is put in its place,
    at the one call with which files are opened for reading.
    """
    really_open = Path.open

    def opened(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if name and path.resolve() == (folder / name).resolve():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really_open(path, mode, *more, **options)

    patch.setattr(Path, "open", opened)


@contextlib.contextmanager
def library_messages_on_stderr() -> Iterator[None]:
    """Let what transformers and datasets log reach today's sys.stderr, as it does in a process of its own."""
    import datasets.utils.logging  # noqa: F401  (sets up the handlers)
    import transformers.utils.logging  # noqa: F401

    handlers = [
        handler
        for name in ("transformers", "datasets")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [handler.stream for handler in handlers]  # an earlier test may have closed its own
    try:
        for handler in handlers:
            handler.stream = sys.stderr
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.stream = stream


class Models:
    """Folders of models, each broken in one way, made when first asked for."""

    def __init__(self, sound: Path, folder: Path) -> None:
        self.sound, self.folder = sound, folder

    def fill(self, word: str, here: Path) -> str:
        """Return an argument with folders in place of their names."""
        named = re.sub(r"\{here\}", str(here), word)
        return re.sub(r"\{([a-z][a-z_]+)\}", lambda match: str(self[match[1]]), named)

    def __getitem__(self, name: str) -> Path:
        if name == "model":
            return self.sound
        path = self.folder / name
        if not path.exists():
            getattr(self, f"_{name}")(path)
        return path

    def _copy(self, path: Path, *left_out: str) -> Path:
        shutil.copytree(self.sound, path, ignore=shutil.ignore_patterns(*left_out))
        return path

    def _change(self, path: Path, file: str, **values: Any) -> None:
        changed = {**json.loads((path / file).read_text(encoding="utf-8")), **values}
        (path / file).write_text(json.dumps(changed), encoding="utf-8")

    def _run(self, path: Path, **settings: Any) -> None:
        rows = path.parent / "rows.csv"
        rows.write_text("text,label,n\na film,good,1\na book,bad,0\n", encoding="utf-8")
        files = {"train_file": rows, "validation_file": rows, "max_steps": 1, "save_strategy": "no"}
        assert classify(path, model_name_or_path=self.sound, **files, **settings) == 0

    def _classifier(self, path: Path, names: tuple[str, ...] = ("bad", "good")) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        self._copy(path, "model.safetensors")
        config = AutoConfig.from_pretrained(self.sound, id2label=dict(enumerate(names)))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModelForSequenceClassification.from_config(config).save_pretrained(path)

    def _one_output(self, path: Path) -> None:
        self._classifier(path, ("score",))

    def _pairs(self, path: Path) -> None:
        self._run(path, text_column_names=["text", "label"], label_column_name="n")

    def _adapter(self, path: Path) -> None:
        self._run(path, lora_rank=2)

    def _next_sentence(self, path: Path) -> None:
        from transformers import AutoConfig, BertForNextSentencePrediction

        names = dict(enumerate(("IsNext", "NotNext")))
        config = AutoConfig.from_pretrained(self.sound, id2label=names)
        BertForNextSentencePrediction(config).save_pretrained(self._copy(path, "model.safetensors"))

    def _no_mask(self, path: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.sound)
        tokenizer.mask_token = None
        tokenizer.save_pretrained(self._copy(path))

    def _three_classes(self, path: Path) -> None:
        self._classifier(path, ("bad", "fair", "good"))

    def _no_config(self, path: Path) -> None:
        self._copy(path, "config.json")

    def _broken_config(self, path: Path) -> None:
        self._copy(path)
        (path / "config.json").write_text('{"model_type": "bert",', encoding="utf-8")

    def _unknown_type(self, path: Path) -> None:
        self._change(self._copy(path), "config.json", model_type="bret")

    def _impossible_config(self, path: Path) -> None:
        self._change(self._copy(path), "config.json", num_attention_heads=5)

    def _other_size(self, path: Path) -> None:
        self._change(self._copy(path), "config.json", hidden_size=64, intermediate_size=128)

    def _no_tokenizer(self, path: Path) -> None:
        self._copy(path, "tokenizer*", "vocab.txt", "special_tokens_map.json")

    def _broken_tokenizer(self, path: Path) -> None:
        self._copy(path)
        (path / "tokenizer.json").write_text("{}", encoding="utf-8")

    def _large_vocabulary(self, path: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.sound)
        tokenizer.add_tokens(["besteak", "bebergine"])
        tokenizer.save_pretrained(self._copy(path))

    def _decoder(self, path: Path) -> None:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

        vocabulary = {"<|endoftext|>": 0, "a": 1, "good": 2, "bad": 3, "film": 4}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        end = "<|endoftext|>"
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, unk_token=end).save_pretrained(path)
        GPT2LMHeadModel(GPT2Config(vocab_size=5, n_positions=64, n_embd=8, n_layer=1, n_head=1)).save_pretrained(path)

    def _no_weights(self, path: Path) -> None:
        self._copy(path, "model.safetensors")

    def _cut_weights(self, path: Path) -> None:
        self._copy(path)
        whole = (path / "model.safetensors").read_bytes()
        (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])

    def _pointer(self, path: Path) -> None:
        self._copy(path)
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 90868376\n"
        (path / "model.safetensors").write_text(pointer, encoding="utf-8")

    def _nan(self, path: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        self._copy(path)
        weights = load_file(path / "model.safetensors")
        weights["encoder.layer.1.output.dense.weight"][3, 5] = torch.nan
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
