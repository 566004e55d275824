"""Models: missing, not a model, of another size, without tokenizer or weights, not numbers."""

from bad_input import Case, refused

# Printed before the error: a classifier's head is new.
NEW = ("new, untrained weights",)

CLASSIFY = [
    refused(
        "none named",
        "--train_file train.csv",
        "no model is named",
        "--model_name_or_path",
        bare=True,
        obeys="--train_file train.csv --model_name_or_path {model} --max_seq_length 32 --use_cpu",
    ),
    refused("missing", "--model_name_or_path ./modle", "./modle: no such folder"),
    refused("missing, below the root", "--model_name_or_path {here}/modle", "modle: no such folder"),
    refused(
        "not on this disk",
        "--model_name_or_path brt-base-uncased",
        "brt-base-uncased",
        "cache",
        "make demo",
        obeys="--model_name_or_path {model}",
    ),
    refused("a file", "--model_name_or_path notes.md", "notes.md", "is a file"),
    refused("a file of weights", "--model_name_or_path {model}/model.safetensors", "is a file", "folder"),
    refused(
        "package not installed",
        "--model_name_or_path package:no_such_model/m",
        "'no_such_model' is not installed",
        obeys="--model_name_or_path {model}",
    ),
    refused("folder not in the package", "--model_name_or_path package:yaml/weights", "no such folder in the package"),
    refused("path out of the package", "--model_name_or_path package:yaml/../..", "no such folder in the package"),
    refused(
        "attention that is not installed",
        "--attn_implementation flash_attention_2",
        "--attn_implementation flash_attention_2: ",
        "Leave it out.",
        notes=("text column",),
        obeys="",
    ),
    refused("not a model", "--model_name_or_path .", "no config.json there", "notes.md"),
    refused("no configuration", "--model_name_or_path {no_config}", "no config.json there, only model.safetensors"),
    refused("broken configuration", "--model_name_or_path {broken_config}", "broken_config", "config.json", "JSON"),
    refused("unknown architecture", "--model_name_or_path {unknown_type}", "unknown_type", "bret"),
    refused("impossible configuration", "--model_name_or_path {impossible_config}", "impossible_config", "heads"),
    refused(
        "configuration of another size",
        "--model_name_or_path {other_size}",
        "other_size",
        "another size",
        "config.json does not fit",
    ),
    refused(
        "another head",
        "--model_name_or_path {three_classes}",
        "classifier",
        "2 outputs",
        "--new_head",
        obeys="--model_name_or_path {three_classes} --new_head",
    ),
    refused(
        "no tokenizer",
        "--model_name_or_path {no_tokenizer}",
        "no_tokenizer",
        "no tokenizer",
        "--tokenizer_name",
        obeys="--model_name_or_path {no_tokenizer} --tokenizer_name {model}",
    ),
    refused(
        "broken tokenizer",
        "--model_name_or_path {broken_tokenizer}",
        "broken_tokenizer",
        "tokenizer",
        obeys="--model_name_or_path {broken_tokenizer} --tokenizer_name {model}",
    ),
    refused("tokenizer missing", "--tokenizer_name ./tok", "./tok", "--tokenizer_name"),
    refused(
        "larger vocabulary",
        "--model_name_or_path {large_vocabulary}",
        "tokens, the model embeds",
        "--tokenizer_name",
        notes=NEW,
        obeys="--model_name_or_path {large_vocabulary} --tokenizer_name {model}",
    ),
    refused(
        "larger tokenizer",
        "--tokenizer_name {large_vocabulary}",
        "tokens, the model embeds",
        "--tokenizer_name",
        notes=NEW,
        obeys="--tokenizer_name {model}",
    ),
    refused("decoder without padding", "--model_name_or_path {decoder}", "no padding token", "encoder"),
    refused("no weights", "--model_name_or_path {no_weights}", "no_weights", "model.safetensors"),
    refused(
        "cut weights",
        "--model_name_or_path {cut_weights}",
        "cut_weights",
        "model.safetensors",
        obeys="--model_name_or_path {model}",
    ),
    refused(
        "pointer for weights",
        "--model_name_or_path {pointer}",
        "pointer",
        "model.safetensors",
        obeys="--model_name_or_path {model}",
    ),
    refused(
        "weights that are not numbers",
        "--model_name_or_path {nan}",
        "encoder.layer.1.output.dense.weight",
        "not all finite",
        notes=NEW,
    ),
]
PREDICT = [refused("predict missing", "./modle --text a", "./modle: no such folder", command="predict")]
NSP = [
    refused("nsp missing", "--model_name_or_path ./modle", "./modle: no such folder", command="nsp"),
    refused(
        "nsp configuration misspelt",
        "--from_scratch --model_config hiden_size=8 --tokenizer_name {model}",
        "hiden_size",
        "'hidden_size'",
        command="nsp",
        obeys="--from_scratch --model_config hidden_size=8 num_attention_heads=2 --tokenizer_name {model}",
    ),
    refused(
        "nsp configuration impossible",
        "--from_scratch --model_config hidden_size=9 num_attention_heads=2",
        "--model_config",
        "9",
        "2",
        command="nsp",
    ),
    refused(
        "nsp configuration without from_scratch",
        "--model_config hidden_size=9",
        "--model_config",
        "--from_scratch",
        command="nsp",
        obeys="--from_scratch --tokenizer_name {model} --model_config hidden_size=48",
    ),
]
CASES: list[Case] = [*CLASSIFY, *PREDICT, *NSP]
