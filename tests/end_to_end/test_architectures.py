"""Every architecture does what docs/models.md says of it, or is refused in one line before anything is paid for."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, of_two_layers
from running import classify, drawing, labelled_sentences, predictions, read_json, save_classifier
from transformers import AutoTokenizer

from bertlab.cli.arguments import ModelArguments, NspArguments
from bertlab.commands.export import NEEDED
from bertlab.inference import torch_predictor
from bertlab.inference.torch_predictor import load_torch_predictor
from bertlab.models import loading, parts
from bertlab.pretraining import objectives
from bertlab.pretraining.model import build_model
from bertlab.training import precision, preflight
from tools import support_matrix

ABSENT = [name for name in NEEDED if importlib.util.find_spec(name) is None]
RECORD = read_json(support_matrix.RECORD)["architectures"]
STEP = {"max_steps": 1, "save_strategy": "no", "max_seq_length": 32, "per_device_train_batch_size": 8}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, write_csv) -> Path:
    return write_csv(tmp_path_factory.mktemp("rows") / "rows.csv", ("text", "label"), labelled_sentences(12, 1))


def write_model(architecture: str, folder: Path, **changes) -> Path:
    """Write the model of `support_matrix` with other values in its configuration."""
    support_matrix.write_model(architecture, folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**read_json(config), **changes}), encoding="utf-8")
    return folder


def train(model: Path, rows: Path, run: Path, **settings) -> int:
    files = {"train_file": rows, "validation_file": rows, "model_name_or_path": model}
    return classify(run, **{**files, **STEP, **settings})


def scores(run: Path) -> np.ndarray:
    return np.array([float(row["probability_good"]) for row in predictions(run, "validation")])


def assert_as_recorded(architecture: str, columns: Sequence[str]) -> None:
    with drawing(False):
        found = support_matrix.answers(architecture, columns)
    expected = RECORD[architecture]
    assert {name: cell for name, cell in found.items() if cell[:2] != expected[name][:2]} == {}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_does_what_the_page_of_models_says(architecture):
    assert_as_recorded(architecture, support_matrix.COLUMNS[:-1])


@pytest.mark.slow
@pytest.mark.skipif(bool(ABSENT), reason=f"the ONNX column needs {', '.join(ABSENT)}: make test-onnx")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_is_exported_as_the_page_of_models_says(architecture):
    assert_as_recorded(architecture, ["ONNX"])


def test_the_page_of_models_is_written_from_its_record():
    """Of every architecture, each of which trains on texts and pairs."""
    assert support_matrix.PAGE.read_text(encoding="utf-8") == support_matrix.page(read_json(support_matrix.RECORD))
    assert list(RECORD) == list(ARCHITECTURES)
    assert {(cells["trains"], cells["pairs"]) for cells in RECORD.values()} == {("yes", "yes")}


def test_an_encoder_without_classification_head_is_told_of_in_one_line(rows, tmp_path, capfd):
    model = write_model("bert", tmp_path / "model", model_type="splinter", architectures=["SplinterModel"])
    assert train(model, rows, tmp_path / "run") == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: transformers has no classification head for splinter models. Choose an encoder")


def test_rows_of_a_model_without_mask_have_one_length_in_pretraining_too(tmp_path):
    arguments = ModelArguments(model_name_or_path=str(write_model("fnet", tmp_path / "model")))
    nsp = NspArguments(max_seq_length=32)
    config, tokenizer = loading.load_config_and_tokenizer(arguments)
    build_model(nsp, arguments, config, tokenizer)
    assert objectives.data_collator(nsp, tokenizer, seed=0).pad_to == 32


@pytest.mark.parametrize(
    "setting", [{"output_hidden_states": True}, {"output_attentions": True}, {"return_dict": False}]
)
def test_what_a_checkpoint_returns_beside_logits_is_left_out(setting, rows, tmp_path):
    model = write_model("bert", tmp_path / "model", **setting)
    assert train(model, rows, tmp_path / "run") == 0
    assert len(scores(tmp_path / "run")) == 12


def test_token_types_that_the_model_does_not_embed_are_left_out(write_csv, tmp_path):
    pairs = write_csv(
        tmp_path / "pairs.csv", ("a", "b", "label"), [("a dog", "a cat", "xy"[row % 2]) for row in range(8)]
    )
    model = write_model("xlm-roberta-xl", tmp_path / "model")  # its type_vocab_size is 1
    assert train(model, pairs, tmp_path / "run", text_column_names=["a", "b"]) == 0


def test_deberta_v1_computes_in_float32_with_the_reason_or_is_refused_in_bf16(rows, tmp_path, capfd, monkeypatch):
    model = write_model("deberta", tmp_path / "model")
    monkeypatch.setattr(precision, "_cpu_flag", lambda: "amx_bf16")
    assert train(model, rows, tmp_path / "run", precision="auto") == 0
    assert "warning: a deberta model fails in bf16 (" in capfd.readouterr().err
    plan = read_json(tmp_path / "run" / "run.json")["plan"]
    assert (plan["precision"], plan["precision_reason"]) == ("fp32", "deberta fails in bf16")
    assert train(model, rows, tmp_path / "refused", precision="bf16") == 2
    assert "error: a deberta model fails in bf16: " in capfd.readouterr().err
    assert train(model, rows, tmp_path / "refused", precision="fp32") == 0


def test_two_rows_are_tried_without_a_trace(rows, tmp_path, monkeypatch):
    model = write_model("bert", tmp_path / "model")
    assert train(model, rows, tmp_path / "tried") == 0
    monkeypatch.setattr(preflight, "check_model", lambda **_: None)
    assert train(model, rows, tmp_path / "untried") == 0
    assert np.array_equal(scores(tmp_path / "tried"), scores(tmp_path / "untried"))


def test_scores_in_bf16_lie_on_no_grid(tiny_model):
    """The next bf16 number above 4 is 4 1/32."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1).eval()
    model.classifier.bias.data.fill_(4.3)
    tokens = torch.arange(5, 69).reshape(16, 4)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), precision.output_layer_in_float32(model):
        values = model(tokens).logits
    assert values.dtype == torch.float32
    assert len(values.unique()) == 16
    assert "forward" not in vars(model.classifier)


def test_a_model_that_fails_is_refused_before_anything_is_written(rows, tmp_path, capfd):
    model = write_model("xmod", tmp_path / "model", default_language=None)
    assert train(model, rows, tmp_path / "run") == 2
    assert (
        "X-MOD has weights for each language, and config.json names no default_language. Set it"
        in capfd.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_a_model_that_fails_in_the_trial_leaves_every_folder_as_it_was(tiny_model, rows, tmp_path, monkeypatch, capfd):
    earlier = tmp_path / "earlier"
    assert train(tiny_model, rows, earlier) == 0
    before = {path: path.stat().st_mtime_ns for path in (earlier, *earlier.rglob("*"))}
    monkeypatch.setattr(preflight, "_failure", lambda *_: "index out of range")
    assert train(tiny_model, rows, tmp_path / "new") == 2
    assert train(tiny_model, rows, earlier, overwrite_output_dir=True) == 2
    assert "a bert model fails on two rows of this data: index out of range. Choose another" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()
    assert {path: path.stat().st_mtime_ns for path in (earlier, *earlier.rglob("*"))} == before
    assert train(tiny_model, rows, tmp_path / "new", attn_implementation="flex_attention") == 2
    assert "index out of range. Leave --attn_implementation out." in capfd.readouterr().err


def test_an_attention_that_the_model_has_not_is_refused_with_a_hint_that_helps(rows, tmp_path, capfd):
    model = write_model("deberta", tmp_path / "model")
    assert train(model, rows, tmp_path / "run", attn_implementation="sdpa") == 2
    assert capfd.readouterr().err.splitlines()[-1] == (
        "error: --attn_implementation sdpa: DebertaForSequenceClassification does not support an attention "
        "implementation through torch.nn.functional.scaled_dot_product_attention yet. Leave it out."
    )
    assert train(model, rows, tmp_path / "run") == 0


@pytest.mark.parametrize("architecture", ["canine", "ibert"])
def test_noise_on_embeddings_is_refused_where_transformers_cannot_add_it(architecture, rows, tmp_path, capfd):
    model = write_model(architecture, tmp_path / "model")
    assert train(model, rows, tmp_path / "run", freeze_embeddings=True, neftune_noise_alpha=5) == 2
    message = f"error: --neftune_noise_alpha: {architecture} models cannot do it. Leave it out."
    assert capfd.readouterr().err.splitlines()[-1] == message
    assert train(model, rows, tmp_path / "run", freeze_embeddings=True) == 0


def test_noise_can_be_added_to_the_embeddings_of_every_other_architecture(rows, tmp_path):
    embedded = {name: parts.word_embeddings(of_two_layers(name)) for name in ARCHITECTURES}
    assert {name for name, part in embedded.items() if not isinstance(part, torch.nn.Embedding)} == {"canine", "ibert"}
    assert train(write_model("bart", tmp_path / "model"), rows, tmp_path / "run", neftune_noise_alpha=5) == 0


def test_predict_says_that_it_computes_in_float32_where_a_model_fails_in_16_bits(tmp_path, monkeypatch, capfd):
    from transformers import AutoModelForSequenceClassification

    folder = write_model("deberta", tmp_path / "model")
    AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(folder)
    monkeypatch.setattr(precision, "automatic", lambda cpu: ("bf16", "by this test"))
    predictor = load_torch_predictor(ModelArguments(model_name_or_path=str(folder)))
    assert predictor.config.precision == "fp32"
    err = capfd.readouterr().err
    assert err.count("warning: a deberta model fails in bf16 (") == 1
    assert "it labels texts in fp32." in err


def test_predict_computes_on_the_device_that_training_would_take(tiny_model, tmp_path, monkeypatch):
    """On Apple and Intel GPUs as on NVIDIA's."""

    save_classifier(tiny_model, tmp_path)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    monkeypatch.setattr(torch_predictor, "_computing", lambda predictor: predictor)
    model = torch_predictor.load_torch_predictor(ModelArguments(model_name_or_path=str(tmp_path))).model
    assert model.device.type == "meta"


def test_a_head_that_is_only_evaluated_keeps_its_outputs(tiny_model, write_csv, tmp_path, capfd):
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(("CONTRADICTION", "NEUTRAL", "ENTAILMENT")))
    head = AutoModelForSequenceClassification.from_pretrained(tiny_model, id2label=names, num_labels=3)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "nli")
    head.classifier.bias.data.copy_(torch.tensor([4.0, 0.0, -4.0]))
    head.save_pretrained(tmp_path / "nli")
    words, ids = (
        write_csv(tmp_path / f"{name}.csv", ("text", "label"), [(f"dog {word}", word) for word in labels])
        for name, labels in (("words", ("entailment", "neutral", "contradiction")), ("ids", "012"))
    )
    run = {"model_name_or_path": tmp_path / "nli", "do_eval": True}

    def evaluated(file: Path, **settings) -> list[dict[str, str]]:
        assert classify(tmp_path / "run", validation_file=file, overwrite_output_dir=True, **run, **settings) == 0
        return predictions(tmp_path / "run", "validation")

    assert [row["label"] for row in evaluated(words)] == ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]
    order = ["entailment", "neutral", "contradiction"]
    assert {row["prediction"] for row in evaluated(words, class_names=order)} == {"CONTRADICTION"}
    capfd.readouterr()
    assert [row["label"] for row in evaluated(ids)] == list(names.values())
    assert "taken in the order of the model's head: 0 = CONTRADICTION" in capfd.readouterr().err
    assert [row["label"] for row in evaluated(ids, class_names=order)] == [name.upper() for name in order]
    assert classify(tmp_path / "other", validation_file=ids, **run, class_names=["x", "y", "z"]) == 2
    assert "the outputs of the model are CONTRADICTION, NEUTRAL, ENTAILMENT, the classes" in capfd.readouterr().err


@pytest.mark.parametrize(("kind", "file"), [("deberta-v2", "spm.model"), ("albert", "spiece.model")])
def test_a_vocabulary_of_sentencepiece_alone_is_read(kind, file, rows, tmp_path):
    pytest.importorskip("google.protobuf", reason="needs protobuf: pip install -r requirements.txt")
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs it: pip install -r requirements.txt")
    folder = write_model(kind, tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    special = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "pad_piece": "<pad>", "unk_piece": "<unk>"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(Path(rows).read_text(encoding="utf-8").split("\n")),
        model_prefix=str(folder / "x"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]"],
        **special,
    )
    (folder / "x.model").rename(folder / file)
    assert train(folder, rows, tmp_path / "run") == 0
