"""The command lines of Hugging Face's own example tests work as they stand."""

from pathlib import Path

import pytest
from running import drawing, results

pytestmark = pytest.mark.slow

ROWS = [
    ("equivalent", "The boy read the book at night .", "At night the book was read by the boy ."),
    ("not_equivalent", "A woman sang in the street .", "Nobody sang that day ."),
    ("equivalent", "They walked to the sea .", "To the sea they walked , all of them ."),
    ("not_equivalent", "The dog sleeps under the tree .", "The cat never sleeps ."),
    ("equivalent", "It was a good film .", 'The film was , he said , "good" .'),
    ("not_equivalent", "The app crashes often .", "The app is fast today ."),
]


@pytest.fixture
def flags(long_model: Path, write_csv, tmp_path: Path) -> list[str]:
    """Return the command line of transformers' test of its text-classification example, with data of our own."""
    header = ("label", "sentence1", "sentence2")
    train, dev = write_csv(tmp_path / "train.csv", header, ROWS), write_csv(tmp_path / "dev.csv", header, ROWS[::-1])
    return f"""
        --model_name_or_path {long_model}
        --train_file {train}
        --validation_file {dev}
        --do_train
        --do_eval
        --per_device_train_batch_size=2
        --per_device_eval_batch_size=1
        --learning_rate=1e-4
        --max_steps=10
        --warmup_steps=2
        --seed=42
        --max_seq_length=128
        --output_dir {tmp_path / "out"}
        """.split()


def test_the_example_s_own_flags_train_and_evaluate(flags: list[str], tmp_path: Path):
    import run_classification

    assert run_classification.main([*flags, "--use_cpu"]) == 0
    scores = results(tmp_path / "out")
    assert 0 <= scores["eval_accuracy"] <= 1
    assert scores["eval_samples"] == 6


OLD = {
    "--overwrite_output_dir": "",
    "--evaluation_strategy epoch": "--eval_strategy",
    "--warmup_ratio 0.1": "--warmup_steps",
    "--group_by_length": "--train_sampling_strategy group_by_length",
    "--logging_dir x": "TENSORBOARD_LOGGING_DIR",
    "--no_cuda": "--use_cpu",
}


def test_flags_of_older_versions_are_translated_each_with_a_message(flags: list[str], tmp_path: Path, capsys):
    import run_classification

    argv = [flag for flag in flags if not flag.startswith("--warmup_steps")]
    with drawing(False):
        assert run_classification.main([*argv, *" ".join(OLD).split()]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("info: ", "warning: "))]
    for old, new in OLD.items():
        about = [line for line in notes if old.split()[0] in line.split()]
        assert len(about) == bool(new), old
        assert all(new in line for line in about)
    assert "eval_accuracy" in results(tmp_path / "out")
