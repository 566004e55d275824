"""Outputs: a folder that holds something, a file in its place, one that cannot be written, nothing to resume."""

from bad_input import Case, refused

# Said before the error: the folder is made last, when data and model are known to be good.
NEW = ("new, untrained weights",)

CASES: list[Case] = [
    refused(
        "output not empty",
        "--output_dir old",
        "--output_dir old is not empty (notes.txt)",
        "--resume auto",
        files={"old/notes.txt": "mine\n"},
        obeys="--output_dir old --resume auto",
    ),
    refused(
        "output holds a run",
        "--output_dir old",
        "old holds a finished run",
        "--output_dir old-2",
        files={"old/run.json": "{}", "old/model.safetensors": "x"},
        obeys="--output_dir old-2",
    ),
    refused("output is a file", "--output_dir notes.md", "--output_dir notes.md is not a folder", "Name a folder"),
    refused(
        "output below a file", "--output_dir notes.md/run", "--output_dir notes.md/run is not a folder", "Name a folder"
    ),
    refused("output name too long", f"--output_dir {'x' * 300}", "--output_dir", "too long"),
    refused("output read-only", "--output_dir /proc/run", "--output_dir /proc/run cannot be written", notes=NEW),
    refused(
        "output link to nowhere",
        "--output_dir old",
        "--output_dir old",
        "cannot be written",
        files={"old": lambda path: path.symlink_to("nowhere/at/all")},
        notes=NEW,
    ),
    refused(
        "output of another's",
        "--output_dir old --overwrite_output_dir",
        "no earlier run",
        "config.json",
        files={"old/config.json": "{}"},
    ),
    refused(
        "output is the model",
        "--output_dir old --overwrite_output_dir --model_name_or_path old/best",
        "would delete the model",
        files={"old/run.json": "{}", "old/best/config.json": "{}"},
    ),
    refused(
        "overwriting with bad data",
        "--output_dir old --overwrite_output_dir --train_file gone.csv",
        "gone.csv does not exist",
        files={"old/run.json": "{}", "old/model.safetensors": "x"},
    ),
    refused(
        "resume without checkpoint",
        "--resume must",
        "--resume must: no checkpoint in out",
        "--resume auto",
        obeys="--resume auto",
    ),
    refused(
        "resume from nowhere",
        "--resume out/checkpoint-7",
        "out/checkpoint-7: there is no such folder",
        "out has no checkpoint",
        obeys="",
    ),
    refused("resume misspelt", "--resume atuo", "--resume atuo", "'auto'"),
    refused(
        "resume a finished run",
        "--output_dir old --resume auto",
        "old holds a finished run",
        files={"old/run.json": "{}"},
        obeys="--output_dir old --overwrite_output_dir",
    ),
    refused(
        "nsp output not empty",
        "--output_dir old",
        "--output_dir old is not empty",
        command="nsp",
        files={"old/notes.txt": "mine\n"},
        obeys="--output_dir old --overwrite_output_dir",
    ),
    refused("cache cannot be made", "--cache_dir notes.md", "notes.md", "--cache_dir", obeys="--cache_dir cache"),
    refused(
        "nsp cache cannot be made",
        "--cache_dir notes.md",
        "notes.md",
        "--cache_dir",
        command="nsp",
        obeys="--cache_dir cache",
    ),
]
