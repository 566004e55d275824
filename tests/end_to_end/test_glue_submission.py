"""From files in GLUE's layout, through a training, to the server's zip file."""

import random
import re
import zipfile

from running import classify, predictions, sentence

from bertlab.__main__ import main


def write_rte(folder):
    """Write an RTE of made-up sentences whose test file has as many rows as the real one."""
    dice = random.Random(0)
    folder.mkdir()
    for name, rows in (("train", 24), ("dev", 8), ("test", 3000)):
        labelled = name != "test"
        lines = ["index\tsentence1\tsentence2" + ("\tlabel" if labelled else "")]
        for row in range(rows):
            texts = sentence(dice, bool(row % 2)), sentence(dice, True)
            label = ["entailment" if row % 2 else "not_entailment"] if labelled else []
            lines.append("\t".join([str(row), *texts, *label]))
        (folder / f"{name}.tsv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


def test_a_trained_run_becomes_a_submission(tmp_path, tiny_model, capsys):
    data, run, output = write_rte(tmp_path / "RTE"), tmp_path / "runs" / "rte", tmp_path / "submission.zip"
    settings = {"task": "rte", "data_dir": data, "model_name_or_path": tiny_model, "num_train_epochs": 1}
    settings |= {"max_train_samples": 8, "save_strategy": "no", "overwrite_output_dir": True}
    refusals = (({"do_train": True}, "--do_predict"), ({"max_predict_samples": 9}, "without --max_predict_samples"))
    for settings_of_less, hint in refusals:
        assert classify(run, **settings, **settings_of_less) == 0
        assert main(["submission", str(run), "--output", str(output)]) == 2
        assert hint in capsys.readouterr().err
    predicted_too = {"do_train": True, "do_predict": True}
    assert classify(run, **settings, **predicted_too) == 0
    assert main(["submission", str(run), "--output", str(output)]) == 0
    assert re.search(r"^RTE\.tsv +3000 ", capsys.readouterr().out, re.MULTILINE)
    with zipfile.ZipFile(output) as archive:
        lines = archive.read("RTE.tsv").decode().splitlines()
    predicted = [row["prediction"] for row in predictions(run, "test")]
    assert lines == ["index\tprediction", *(f"{row}\t{label}" for row, label in enumerate(predicted))]
    assert len(predicted) == 3000 and set(predicted) <= {"entailment", "not_entailment"}
