"""The model card: metadata the Hub accepts, and only what is true of the run."""

import ast
import json
import re
from types import SimpleNamespace

import pytest
from finished_runs import finished_run
from huggingface_hub import ModelCard

from bertlab.cli import arguments
from bertlab.report import model_card, scores, writer
from bertlab.report.run_folder import RunFolder
from bertlab.report.tables import Table


def every_flag():
    groups = (arguments.DataArguments, arguments.NspArguments, arguments.ModelArguments, arguments.RunArguments)
    return [flag for group in groups for flag in arguments.dataclass_flags(group)]


CASES = [
    ("binary", {}),
    ("three", {}),
    ("multi", {}),
    ("regression", {}),
    ("binary", {"labelled": False}),
    ("three", {"trained": False}),
]


def written(folder):
    (folder / "README.md").write_text(model_card.render(RunFolder.read(folder)), encoding="utf-8")
    return ModelCard.load(folder / "README.md")


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_every_kind_of_run_has_a_valid_card(tmp_path, kind, settings):
    folder = finished_run(tmp_path / "example", kind, **settings)
    loaded = written(folder)
    assert loaded.data.library_name == "transformers" and loaded.data.pipeline_tag == "text-classification"
    results = loaded.data.eval_results or []
    scores = json.loads((folder / "results.json").read_text())["splits"]["validation"].get("metrics", {})
    assert [result.metric_value for result in results] == [round(one["value"], 6) for one in scores.values()]
    assert {result.dataset_split for result in results} <= {"validation"}
    for heading in ("How to use", "Results", "Training", "Data", "Environment", "Limits"):
        assert f"\n## {heading}\n" in loaded.text
    assert "/home/" not in loaded.content and "host-17" not in loaded.content
    assert "None" not in loaded.text.replace("top_k=None", "") and "nan" not in loaded.text.split()
    for table in re.findall(r"(?:^\|.*\n)+", loaded.text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_the_results_have_intervals_baselines_and_the_published_value(tmp_path):
    folder = finished_run(tmp_path / "example", "binary")
    text = written(folder).text
    one = json.loads((folder / "results.json").read_text())["splits"]["validation"]["metrics"]["accuracy"]
    assert f"| {one['value']:.4f} | {one['low']:.4f} to {one['high']:.4f} | 120 |" in text
    assert "majority class | published |" in text and "Published: a paper, table 2." in text
    assert "| 3.00 | 120 |" in text and "validation Matthews correlation" in text


def test_settings_are_those_that_differ_from_the_defaults(tmp_path):
    folder = finished_run(tmp_path, "binary", configuration={"weight_decay": 0.0, "adam_beta1": 0.8})
    changed = dict(model_card.changed_settings(RunFolder.read(folder)))
    assert changed == {"learning_rate": "0.0001", "adam_beta1": "0.8", "max_seq_length": "32"}


def test_settings_of_this_program_that_change_the_model_are_listed(tmp_path):
    ours = {"classifier_dropout": 0.3, "freeze_encoder": True, "clean": ["html", "whitespace"], "new_head": False}
    beside = {
        "per_device_eval_batch_size": 64,
        "restore_callback_states_from_checkpoint": True,
        "train_file": "a.csv",
    }
    folder = finished_run(tmp_path, "binary", configuration={**ours, **beside})
    changed = dict(model_card.changed_settings(RunFolder.read(folder)))
    assert {name: changed.get(name) for name in ours} == {
        "classifier_dropout": "0.3",
        "freeze_encoder": "yes",
        "clean": "html whitespace",
        "new_head": None,
    }
    assert not beside.keys() & changed.keys()
    assert all(any(flag.name == name for flag in every_flag()) for name in model_card.OUR_TRAINING)


@pytest.mark.parametrize(
    ("name", "from_hub"),
    [("bert-base-cased", True), ("runs/cola", False), ("/models/bert", False), ("./models/bert", False)],
)
def test_the_base_model_is_named_only_if_it_is_on_the_hub(tmp_path, name, from_hub):
    on_the_hub = {"model": name if from_hub else None}
    folder = finished_run(tmp_path, configuration={"model_name_or_path": name}, hub=on_the_hub)
    loaded = written(folder)
    assert loaded.data.base_model == (name if from_hub else None)
    assert "/models/" not in loaded.content


def test_the_data_set_is_named_only_if_it_was_read_from_the_hub(tmp_path):
    names = {"dataset_name": "nyu-mll/glue", "dataset_config_name": "cola"}
    loaded = written(finished_run(tmp_path / "hub", configuration=names, hub={"dataset": "nyu-mll/glue"}))
    assert loaded.data.datasets == ["nyu-mll/glue"]
    assert {(r.dataset_type, r.dataset_config) for r in loaded.data.eval_results} == {("nyu-mll/glue", "cola")}
    assert "https://huggingface.co/datasets/nyu-mll/glue" in loaded.text
    local = written(finished_run(tmp_path / "local", "binary", configuration={**names, "data_dir": "/data/glue"}))
    assert local.data.datasets is None and "/data/glue" not in local.content


@pytest.mark.parametrize(
    ("settings", "model", "dataset"),
    [
        ({"model_name_or_path": "someone/tiny", "dataset_name": "someone/films"}, "someone/tiny", "someone/films"),
        ({"model_name_or_path": "someone/tiny", "from_scratch": True}, None, None),
        ({"model_name_or_path": "/models/tiny", "dataset_name": "/data/films"}, None, None),
        ({"dataset_name": "someone/films", "data_dir": "films"}, None, None),
        ({"dataset_name": "someone/films", "test_file": "films.csv"}, None, None),
    ],
)
def test_what_is_on_the_hub_is_what_was_read_from_it(settings, model, dataset):
    run = SimpleNamespace(invocation=SimpleNamespace(settings=settings), repository=None)
    assert writer._on_the_hub(run) == {"repository": None, "model": model, "dataset": dataset}


def test_a_run_from_scratch_is_not_called_fine_tuned(tmp_path):
    names = {"model_name_or_path": "google-bert/bert-base-uncased", "from_scratch": True}
    text = written(finished_run(tmp_path, configuration=names)).content
    assert "fine-tuned" not in text
    assert "bert-base-uncased" not in text


def test_the_card_of_an_upload_names_the_repository(tmp_path):
    card = written(finished_run(tmp_path / "run", hub={"repository": "somebody/films", "license": "mit"}))
    assert (card.data.model_name, card.data.license) == ("somebody/films", "mit")
    assert "# somebody/films\n" in card.text
    assert 'model="somebody/films")\n' in card.text
    assert "bertlab predict somebody/films" in card.text


def test_the_code_fits_the_model(tmp_path):
    pair = written(finished_run(tmp_path / "pair", "binary", pairs=True)).text
    assert '"text_pair"' in pair and "--pair" in pair
    assert 'function_to_apply="none"' in written(finished_run(tmp_path / "number", "regression")).text
    assert 'function_to_apply="sigmoid"' in written(finished_run(tmp_path / "multi", "multi")).text
    folder = finished_run(tmp_path / "nsp", "binary", pairs=True)
    (folder / "config.json").write_text('{"architectures": ["BertForNextSentencePrediction"]}')
    text = written(folder).text
    assert "AutoModelForNextSentencePrediction" in text and "pipeline" not in text
    (folder / "config.json").write_text('{"architectures": ["BertSegmentCosineForNextSentencePrediction"]}')
    ours = written(folder).text
    assert "Predictor('nsp')" in ours.replace('"', "'") and "AutoModel" not in ours and "pipeline" not in ours
    for code in re.findall(r"```python\n(.*?)```", text + ours + pair, flags=re.DOTALL):
        compile(code, "card", "exec")


@pytest.mark.parametrize(
    ("kind", "columns", "text"),
    [
        ("three", ["content"], "The staff were friendly"),  # the classes are negative, neutral and positive
        ("multi", ["review"], "The staff were friendly"),
        ("multi", ["text"], "The committee will meet again on Monday."),
        ("binary", ["sentence"], "The books that she bought was on the table."),  # unacceptable or acceptable
        ("binary", ["question1", "question2"], "How do I learn to play chess?"),
        ("binary", ["sentence1", "sentence2"], "On Monday there is another meeting of the committee."),
    ],
)
def test_the_example_is_of_the_data_s_kind_and_not_of_the_data(tmp_path, kind, columns, text):
    names = {"text_column_names": columns}
    folder = finished_run(tmp_path / "run", kind, pairs=len(columns) == 2, configuration=names)
    card = written(folder).text
    assert card.count(text) == 2
    row = (folder / "misclassified" / "validation.tsv").read_text(encoding="utf-8").splitlines()[1].split("\t")[6]
    assert row and row not in card


def test_the_temperature_is_mentioned_only_where_one_was_fitted(tmp_path):
    assert "applies the fitted temperature; the code" in written(finished_run(tmp_path / "a", "binary")).text
    text = written(finished_run(tmp_path / "b", "binary", trained=False)).text
    assert "fitted temperature" not in text and "not calibrated" in text


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "BertForNextSentencePrediction"])
def test_a_folder_of_any_name_can_be_loaded(tmp_path, architecture):
    folder = finished_run(tmp_path / 'a "run" of <b>mine', "binary")
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    text = model_card.render(RunFolder.read(folder))
    assert '# a "run" of &lt;b>mine\n' in text
    assert "python -m bertlab predict 'a \"run\" of <b>mine' --" in text
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert folder.name in names


def test_bars_and_marks_in_names_do_not_break_a_table():
    table = Table(["a|b", "c"], [["<x>", "1\n2"]])
    assert model_card.markdown(table) == "| a\\|b | c |\n| --- | ---: |\n| &lt;x> | 1 2 |"


@pytest.mark.parametrize(
    ("key", "shown", "on_the_hub"),
    [
        ("f0.5_macro", "macro F0.5", "f0.5"),
        ("recall_samples", "recall by example", "recall"),
        ("roc_auc_weighted", "weighted ROC AUC", "roc_auc"),
        ("balanced_accuracy", "balanced accuracy", "balanced_accuracy"),
        ("pearson", "Pearson correlation", "pearsonr"),
    ],
)
def test_metrics_have_names_for_people_and_for_the_hub(key, shown, on_the_hub):
    assert (scores.display_name(key), model_card.hub_metric(key)) == (shown, on_the_hub)
