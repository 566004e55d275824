"""Folders of labelled text whose file names, headers and quoting are known: GLUE's download and CoLA's raw files."""

from dataclasses import dataclass, field
from pathlib import Path

from bertlab.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Layout:
    """The files of one task in a folder: tab-separated, quotes are characters.

    `files` maps a split to its possible file names; `headerless` names the columns of files without a header line.
    """

    text: tuple[str, ...]
    folder: str
    label: str | None = "label"
    source: str | None = None
    files: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train.tsv",), "validation": ("dev.tsv",), "test": ("test.tsv",)}
    )
    headerless: dict[str, tuple[str, ...]] = field(default_factory=dict)


_SENTENCES = ("sentence1", "sentence2")
_COLA = ("source", "label", "mark", "sentence")
_MNLI = ("matched", "mismatched")
_COLA_PUBLIC = {"train": "in_domain_train", "in_domain_dev": "in_domain_dev", "out_of_domain_dev": "out_of_domain_dev"}

LAYOUTS: dict[str, Layout] = {
    "glue/cola": Layout(("sentence",), "CoLA", source="source", headerless={"train": _COLA, "validation": _COLA}),
    "glue/sst2": Layout(("sentence",), "SST-2"),
    "glue/mrpc": Layout(
        ("#1 String", "#2 String"),
        "MRPC",
        label="Quality",
        files={
            "train": ("train.tsv", "msr_paraphrase_train.txt"),
            "validation": ("dev.tsv",),
            "test": ("test.tsv", "msr_paraphrase_test.txt"),
        },
    ),
    "glue/stsb": Layout(_SENTENCES, "STS-B", label="score", source="genre"),
    "glue/qqp": Layout(("question1", "question2"), "QQP", label="is_duplicate"),
    "glue/mnli": Layout(
        _SENTENCES,
        "MNLI",
        label="gold_label",
        source="genre",
        files={
            "train": ("train.tsv",),
            **{f"validation_{kind}": (f"dev_{kind}.tsv",) for kind in _MNLI},
            **{f"test_{kind}": (f"test_{kind}.tsv",) for kind in _MNLI},
        },
    ),
    "glue/qnli": Layout(("question", "sentence"), "QNLI"),
    "glue/rte": Layout(_SENTENCES, "RTE"),
    "glue/wnli": Layout(_SENTENCES, "WNLI"),
    "glue/ax": Layout(_SENTENCES, "diagnostic", label=None, files={"test": ("diagnostic.tsv", "AX.tsv", "ax.tsv")}),
    "cola_public": Layout(
        ("sentence",),
        "raw",
        source="source",
        files={split: (f"{name}.tsv",) for split, name in _COLA_PUBLIC.items()},
        headerless=dict.fromkeys(_COLA_PUBLIC, _COLA),
    ),
}


def find_layout(name: str) -> Layout:
    """Return a layout by name.

    Raises:
        UserError: no layout has that name.
    """
    if name not in LAYOUTS:
        raise UserError(f"--data_layout {name}: there is no such layout.", did_you_mean(name, LAYOUTS))
    return LAYOUTS[name]


def find_files(layout: Layout, data_dir: Path) -> dict[str, Path]:
    """Return the files of each split that exist in the folder, or in its sub-folder of the usual name.

    Raises:
        UserError: the folder is missing, or holds none of the layout's files.
    """
    if not data_dir.is_dir():
        siblings = [path.name for path in data_dir.parent.glob("[!.]*/")]
        raise UserError(
            f"--data_dir {data_dir}: no such folder.", did_you_mean(data_dir.name, siblings, data_dir.parent)
        )
    for folder in (data_dir, data_dir / layout.folder):
        files = {
            split: folder / name
            for split, names in layout.files.items()
            for name in reversed(names)
            if (folder / name).is_file()
        }
        if files:
            _refuse_other_task(layout, next(iter(files.values())))
            return files
    expected = ", ".join(names[0] for names in layout.files.values())
    present = ", ".join(sorted(path.name for path in data_dir.iterdir())[:8])
    inside = f"only {present}" if present else "the folder is empty"
    raise UserError(f"--data_dir {data_dir}: none of {expected} is there, {inside}.", "Name the task's own folder.")


def _refuse_other_task(layout: Layout, path: Path) -> None:
    """Refuse a file whose first line is that of another task's files, as when MRPC's folder is given for CoLA."""
    with path.open("rb") as file:
        first = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    is_own = len(first) == len(_COLA) if layout.headerless else set(layout.text) <= set(first)
    with_header = {name: {*other.text, other.label} for name, other in LAYOUTS.items() if not other.headerless}
    others = [name for name, columns in with_header.items() if columns <= set(first)]
    if len(first) == len(_COLA) and first[1] in ("0", "1") and first[2] in ("", "*"):
        others = ["glue/cola"]
    if others and not is_own:
        task = others[0].split("/")[-1]
        raise UserError(f"{path} looks like a file of {task}.", f"Pass --task {task}, or name another --data_dir.")
