"""The README's commands, typed in order as a newcomer would, on small data and a tiny model."""

import re
from pathlib import Path

import pytest
from nsp_runs import paragraphs
from running import drawing
from test_documents import ROOT, commands

import run_classification
import run_nsp
from bertlab.__main__ import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = ["--max_steps", "2", "--precision", "fp32", "--use_cpu", "--disable_tqdm"]
COLA = "".join(f"gj04\t{i % 2}\t{'*' * (1 - i % 2)}\tthe dog number {i} sleeps\n" for i in range(8))
MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + "".join(
    f"{i % 2}\t{i}\t{i}\tdog number {i}\tcat number {i}\n" for i in range(8)
)
FILES = {
    "reviews.csv": "content,score\n" + "".join(f"review number {i},{i % 5 + 1}\n" for i in range(60)),
    "meditations.txt": "\n".join(paragraphs(30)),
    **{f"books/{book}.txt": "\n".join(paragraphs(144)[12 * book : 12 * book + 12]) for book in range(12)},
    "candidates.txt": "He was late.\nIt rained.\n",
    "sentences.txt": "The dog sleeps.\nSleeps dog.\n",
    **{f"glue_data/CoLA/{split}.tsv": COLA for split in ("train", "dev")},
    **{f"glue_data/MRPC/{split}.tsv": MRPC for split in ("train", "dev")},
}
# Needs the network, a launcher, an extra, or runs that are not made here.
ELSEWHERE = re.compile(
    r"make demo|pip install|python3 -m venv|\. \.venv|--task (mnli|sst2)|"
    r"bertlab (export|submission|suite|sweep|compare)"
)
MAINS = {"run_nsp.py": run_nsp.main, "run_classification.py": run_classification.main}


def adapted(argv: list[str], model: Path) -> list[str]:
    """Return a command with the tiny model in the place of its own, two steps, and GLUE's files from this disk."""
    if argv[0] in ("predict", "recipes"):
        return argv
    argv = [str(ROOT / word) if word.startswith("configs/") else word for word in argv]
    argv = [word for flag, word in zip(["", *argv], argv, strict=False) if "--model_name_or_path" not in (flag, word)]
    task = argv[argv.index("--task") + 1] if "--task" in argv else ""
    data = {"cola": ["--data_dir", "glue_data/CoLA"], "mrpc": ["--data_dir", "glue_data/MRPC"]}.get(task, [])
    length = ["--max_seq_length", "32", "--model_name_or_path", str(model)]
    return [*argv, *data, *length, *([] if argv[0] == "check" else SMALL)]


@pytest.mark.slow
def test_the_commands_of_the_readme_run_one_after_the_other(tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    typed = [argv for argv in commands(README) if not ELSEWHERE.search(" ".join(argv))]
    # The first prediction is shown behind `make demo`, which is not typed here.
    typed.sort(key=lambda argv: argv[:3] == ["bertlab", "predict", "runs/demo/cola"])
    assert len(typed) >= 11
    for argv in typed:
        program, words = (main, argv[1:]) if argv[0] == "bertlab" else (MAINS[argv[1]], argv[2:])
        with drawing(False):
            status = program(adapted(words, tiny_model))
        printed = capsys.readouterr()
        assert status == 0, f"{argv}\n{printed.err}"
        tables = [line for line in printed.out.splitlines() if re.match(r"-+  -+", line)]
        assert all(len(line) <= 80 for line in tables), argv
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if (path / "run.json").is_file()) == [
        "books",
        "cola",
        "meditations",
        "mrpc",
        "reviews",
    ]
