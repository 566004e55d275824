"""Folders of labelled text whose file names, headers and quoting are known: GLUE's download and CoLA's raw files."""

from dataclasses import dataclass, field
from pathlib import Path

from bertlab.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Layout:
    """The files of one task in a folder: tab-separated, quotes are characters.

    `files` maps a split to its possible file names; `headerless` names the columns of files without a header line.
    """

    files: dict[str, tuple[str, ...]]
    text: tuple[str, ...]
    label: str | None = "label"
    folder: str = ""
    headerless: dict[str, tuple[str, ...]] = field(default_factory=dict)
    source: str | None = None


_USUAL: dict[str, tuple[str, ...]] = {"train": ("train.tsv",), "validation": ("dev.tsv",), "test": ("test.tsv",)}
_COLA = ("source", "label", "mark", "sentence")

LAYOUTS: dict[str, Layout] = {
    "glue/cola": Layout(
        _USUAL, ("sentence",), folder="CoLA", headerless={"train": _COLA, "validation": _COLA}, source="source"
    ),
    "glue/sst2": Layout(_USUAL, ("sentence",), folder="SST-2"),
    "glue/mrpc": Layout(
        {
            "train": ("train.tsv", "msr_paraphrase_train.txt"),
            "validation": ("dev.tsv",),
            "test": ("test.tsv", "msr_paraphrase_test.txt"),
        },
        ("#1 String", "#2 String"),
        label="Quality",
        folder="MRPC",
    ),
    "glue/stsb": Layout(_USUAL, ("sentence1", "sentence2"), label="score", folder="STS-B", source="genre"),
    "glue/qqp": Layout(_USUAL, ("question1", "question2"), label="is_duplicate", folder="QQP"),
    "glue/mnli": Layout(
        {
            "train": ("train.tsv",),
            "validation_matched": ("dev_matched.tsv",),
            "validation_mismatched": ("dev_mismatched.tsv",),
            "test_matched": ("test_matched.tsv",),
            "test_mismatched": ("test_mismatched.tsv",),
        },
        ("sentence1", "sentence2"),
        label="gold_label",
        folder="MNLI",
        source="genre",
    ),
    "glue/qnli": Layout(_USUAL, ("question", "sentence"), folder="QNLI"),
    "glue/rte": Layout(_USUAL, ("sentence1", "sentence2"), folder="RTE"),
    "glue/wnli": Layout(_USUAL, ("sentence1", "sentence2"), folder="WNLI"),
    "glue/ax": Layout(
        {"test": ("diagnostic.tsv", "AX.tsv", "ax.tsv")}, ("sentence1", "sentence2"), label=None, folder="diagnostic"
    ),
    "cola_public": Layout(
        {
            "train": ("in_domain_train.tsv",),
            "in_domain_dev": ("in_domain_dev.tsv",),
            "out_of_domain_dev": ("out_of_domain_dev.tsv",),
        },
        ("sentence",),
        folder="raw",
        headerless={"train": _COLA, "in_domain_dev": _COLA, "out_of_domain_dev": _COLA},
        source="source",
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
        siblings = [path.name for path in data_dir.parent.glob("*/")]
        raise UserError(f"--data_dir {data_dir}: no such folder.", did_you_mean(data_dir.name, siblings))
    for folder in (data_dir, data_dir / layout.folder):
        files = {
            split: folder / name
            for split, names in layout.files.items()
            for name in reversed(names)
            if (folder / name).is_file()
        }
        if files:
            return files
    expected = ", ".join(names[0] for names in layout.files.values())
    present = ", ".join(sorted(path.name for path in data_dir.iterdir())[:8]) or "nothing"
    raise UserError(
        f"--data_dir {data_dir}: none of {expected} is there, only {present}.", "Name the task's own folder."
    )
