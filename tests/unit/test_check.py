"""The data check: every kind of finding, exit status 1 with --strict, and the padding and length advice."""

import numpy as np
import pytest
from datasets import Dataset
from running import labelled_sentences
from transformers import AutoTokenizer

from bertlab.commands import check
from bertlab.data import findings

CLEAN = labelled_sentences(40, seed=5)


@pytest.fixture
def checked(tiny_model, tmp_path, write_csv, capsys):
    def run(train, validation=None, *words):
        argv = ["--train_file", str(write_csv(tmp_path / "train.csv", ("text", "label"), train))]
        if validation is not None:
            argv += ["--validation_file", str(write_csv(tmp_path / "dev.csv", ("text", "label"), validation))]
        argv += ["--model_name_or_path", str(tiny_model), "--max_seq_length", "32", *words]
        status = check.main(argv)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_clean_data_has_no_finding(checked):
    rows = [[f"the book number {index} is {word}", word] for index, word in enumerate(["good", "bad"] * 10)]
    status, output = checked(rows, None, "--strict")
    assert status == 0
    assert "No empty, repeated, contradictory or leaked texts." in output
    assert "suggested: --max_seq_length" in output
    assert "grouped by length" in output


@pytest.mark.parametrize(
    ("train", "validation", "finding", "wrong"),
    [
        ([["a b", "x"], ["a b", "x"], ["c", "y"]], None, "train: 1 row repeats an earlier text.", False),
        (
            [["a b", "x"], ["a b", "y"], ["c", "y"]],
            None,
            "train: 1 text has different labels, for example 'a b'",
            False,
        ),
        ([["a b", "x"], ["c", "y"], ["", "y"]], None, "train: 1 row that is incomplete or ragged was left out.", False),
        (
            [["a b", "x"], ["c", "y"]],
            [["c", "y"], ["d", "x"]],
            "in train: 1 exact duplicate, 0 near duplicates",
            True,
        ),
        (
            [["a b", "x"], ["c", "y"]],
            [["A, b!", "x"], ["d", "y"]],
            "0 exact duplicates, 1 near duplicate (case, punct",
            True,
        ),
        ([["a b", "x"], ["c", "y"]], [["d", "x"], ["d", "y"]], "validation: 1 text has different labels", True),
        ([["a b", "x"], ["c", "y"]], [["d", "x"], ["e", "x"]], "validation: every row has the same label", True),
    ],
    ids=["repeated", "contradictory", "missing", "leaked", "nearly-leaked", "contradictory-report", "one-class"],
)
def test_every_finding_is_printed_and_strict_stops_on_what_makes_a_score_wrong(
    checked, train, validation, finding, wrong
):
    status, output = checked(train, validation, "--strict")
    assert finding in output
    assert ("WRONG" in output) is wrong
    assert status == (1 if wrong else 0)
    if wrong:
        assert checked(train, validation)[0] == 0


@pytest.mark.parametrize(("rank", "output"), [("0", "warning: bad\n"), ("1", "")])
def test_before_training_the_first_process_alone_looks(rank, output, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    looked = []
    monkeypatch.setattr(findings, "find_problems", lambda data: looked.append(data) or [findings.Finding("bad", False)])
    findings.print_findings("the data")
    assert (capsys.readouterr().err, len(looked)) == (output, len(output[:1]))


def test_characters_that_become_unknown_tokens_are_named(checked):
    _, output = checked([["the 猫 cat", "x"], ["the dog", "y"], ["a 猫", "y"]])
    assert "characters become unknown tokens (2 rows, 15.4% of the tokens): 猫 (2)" in output
    assert "warning: train: 15% of the tokens are unknown to this tokenizer: the model does not see what they" in output


@pytest.mark.parametrize(("words", "counted"), [(4, 500), (40, 150), (400, 20)], ids=["short", "longer", "long"])
def test_short_texts_are_counted_whole_and_long_ones_on_a_sample(tiny_model, monkeypatch, words, counted):
    monkeypatch.setattr(check, "SAMPLE_CHARACTERS", 30_000)
    monkeypatch.setattr(check, "SAMPLE_ROWS", 20)
    split = Dataset.from_dict({"text": ["book " * words] * 500})
    tokens = check.count_tokens(split, AutoTokenizer.from_pretrained(tiny_model))
    assert (tokens.rows, len(tokens.lengths)) == (500, counted)


def test_padding_is_least_when_rows_are_grouped_by_length():
    lengths = np.random.default_rng(0).integers(4, 60, size=2000)
    fixed, random, grouped = check.padding_waste(lengths, batch=16, max_length=64).values()
    assert fixed == pytest.approx(1 - lengths.mean() / 64)
    assert fixed > random > grouped


@pytest.mark.parametrize(("longest", "positions", "suggested"), [(25, 512, 32), (32, 512, 32), (700, 512, 512)])
def test_the_suggested_length_is_a_multiple_of_8_within_the_positions(longest, positions, suggested):
    assert check.suggested_length(np.array([longest] * 50), positions) == suggested


def test_real_cola_has_18_leaked_sentences_and_19_repeats(real_data, tiny_model, capsys):
    argv = ["--task", "cola", "--data_dir", str(real_data / "glue" / "CoLA"), "--model_name_or_path", str(tiny_model)]
    assert check.main([*argv, "--max_seq_length", "64", "--strict"]) == 1
    output = capsys.readouterr().out
    assert "train: 19 rows repeat an earlier text." in output
    assert "validation: 18 of 1,043 rows also occur in train" in output
