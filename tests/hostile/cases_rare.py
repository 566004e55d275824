"""What goes wrong more rarely, of all kinds: former flags, runs of many, folders of models, streams, text for NSP."""

import json
from pathlib import Path
from typing import Any

from bad_input import GOOD_FILES, ROWS, Case, refused
from finished_runs import finished_run

NEW = ("new, untrained weights",)
EVALUATE = "--do_eval --validation_file dev.csv --max_seq_length 32 --model_name_or_path"
STREAM = "--streaming --max_steps 1"
MODEL = "--model_name_or_path {model} --max_seq_length 32"
SELECTED = "--selection_fraction 0.25"
SMALL = "--from_scratch --tokenizer_name {model} --model_config num_hidden_layers=1"
ROWS_OF_MOODS = f"text,mood\n{ROWS}"
ALL_TRAIN = "--text two.txt --validation_fraction 0 --selection_fraction 0 --early_stopping_patience 0"
ONE_TEXT = "".join(f"{line}\n" for line in str(GOOD_FILES["story.txt"]).splitlines()[:2])


def run_of_seed(seed: int, **results: Any) -> Any:
    def write(path: Path) -> None:
        finished_run(path)
        for name, values in (("run.json", {"seed": seed}), ("results.json", results)):
            content = json.loads((path / name).read_text(encoding="utf-8"))
            (path / name).write_text(json.dumps({**content, **values}), encoding="utf-8")

    return write


def predicted(name: str, flags: str, *says: str, **more: Any) -> Case:
    return refused(name, flags, *says, command="predict", **more)


FLAGS = [
    refused("a ratio that is steps", "--warmup_ratio 10", "a number of steps", obeys="--warmup_steps 10"),
    refused("one dash", "--report_to none -seed 1", "two dashes", "Write --seed.", obeys="--report_to none --seed 1"),
    refused(
        "batches split over processes",
        """--accelerator_config '{"split_batches": true}'""",
        "split_batches",
        obeys="--per_device_train_batch_size 16",
    ),
    refused(
        "an address",
        "--train_file https://example.org/train.csv",
        "is an address",
        obeys="--train_file train.csv",
    ),
    refused(
        "a layout is missing",
        f"{MODEL} --data_dir .",
        "how they are laid out",
        bare=True,
        command="check",
        obeys=f"{MODEL} --data_dir . --data_layout glue/cola",
        then="none of train.tsv",
    ),
    refused("labels by name", "--label_names labels", "--label_names is not supported", obeys=""),
    refused(
        "two tasks",
        "--task cola --task rte",
        "--task is given twice",
        bare=True,
        obeys="suite: --tasks cola rte --print_commands",
    ),
    refused(
        "batches of unlike numbers of rows",
        """--accelerator_config '{"even_batches": false}'""",
        "even_batches",
        obeys="",
    ),
    refused("a layout misspelt", "--data_dir . --data_layout glue/cloa", "no such layout", bare=True, then="train.tsv"),
    refused(
        "a folder of data misspelt",
        f"--task cola --data_dir CoAL {MODEL}",
        "--data_dir CoAL: no such folder",
        bare=True,
        files={"CoLA/train.tsv": "", "CoLA/dev.tsv": ""},
        then="is empty",
    ),
    refused(
        "a name of two columns",
        "--column_names text text",
        "a name is empty or repeated",
        files={"train.csv": ROWS},
        obeys="--column_names text label",
    ),
    refused(
        "a price that is none",
        f"{SELECTED} --threshold cost=cheap",
        "--threshold cost=cheap: not understood",
        obeys=f"{SELECTED} --threshold cost=1:5",
    ),
    refused(
        "a threshold of no metric",
        f"{SELECTED} --threshold balanced_acuracy",
        "no metric of decisions",
    ),
    refused(
        "more layers than there are",
        "--reinit_layers 3",
        "the model has 2 layers. Pass 0 to 2.",
        notes=NEW,
        obeys="--reinit_layers 2",
    ),
    refused("an unknown module", "--lora_rank 2 --lora_target_modules qurey", "no linear module 'qurey'", notes=NEW),
]

SPLITS = [
    refused(
        "no training split",
        f"{MODEL} --validation_file dev.csv",
        "no training split 'train'",
        bare=True,
        obeys=f"{EVALUATE} {{model}}",
        then="--class_names",
    ),
    refused(
        "no training split in a stream",
        f"{STREAM} {MODEL} --validation_file dev.csv",
        "--streaming: there is no training split",
        bare=True,
        obeys=f"{STREAM} {MODEL} --train_file train.csv --class_names bad good",
    ),
    refused(
        "validation and test",
        "--validation_file dev.csv --validation_split_name dev --test_split_name dev",
        "named for validation and for test",
        obeys="--validation_file dev.csv --validation_split_name dev",
    ),
    refused(
        "nothing to evaluate",
        "--do_eval",
        "no split to evaluate or predict",
        obeys="--do_eval --validation_fraction 0.5 --class_names bad good",
    ),
    refused(
        "a class of one row",
        "--validation_fraction 0.25",
        "--validation_fraction",
        "in balance",
        files={"train.csv": GOOD_FILES["train.csv"] + "a,fair\n"},  # type: ignore[operator]
        obeys="--validation_fraction 0.25 --no_stratify",
    ),
    refused(
        "no source",
        MODEL,
        "no data to work on",
        bare=True,
        obeys=f"{MODEL} --train_file train.csv",
    ),
    refused(
        "no classes",
        f"{EVALUATE} {{model}}",
        "nothing says which classes",
        bare=True,
        obeys=f"{EVALUATE} {{model}} --class_names bad good",
    ),
    refused(
        "other classes than the head's",
        f"{EVALUATE} {{classifier}} --class_names ok poor",
        "the outputs of the model are bad, good",
        bare=True,
        files={"dev.csv": "text,label\na,ok\nb,poor\n"},
        obeys=f"{EVALUATE} {{classifier}} --label_map ok=good poor=bad",
    ),
    refused(
        "one output",
        f"{EVALUATE} {{one_output}}",
        "one output, 'score'",
        bare=True,
        files={"dev.csv": "text,label\na,1\nb,2.5\n"},
        obeys=f"{EVALUATE} {{one_output}} --do_regression",
    ),
    refused(
        "names in quotes",
        "--train_file a.tsv --quoting none",
        "column names stand in quotes",
        files={"a.tsv": '"text"\t"label"\n"a"\t"x"\n"b"\t"y"\n'},
        obeys="--train_file a.tsv --quoting standard",
    ),
    refused(
        "names for JSON",
        "--train_file a.jsonl --column_names text label",
        "names its own columns",
        files={"a.jsonl": '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n'},
        obeys="--train_file a.jsonl",
    ),
    refused(
        "no row is whole",
        "--train_file gaps.csv --on_missing drop",
        "no row has both text and label",
        files={"gaps.csv": "text,label\na film,\n,good\n"},
        obeys="--train_file gaps.csv --on_missing error",
        then="line 3: the text is missing",
    ),
    refused(
        "a split to leave out that is not there",
        "--validation_file dev.csv --remove_splits validtion",
        "there is no split 'validtion'",
    ),
    refused(
        "no labels in a stream",
        f"{STREAM} --train_file moods.csv --class_names bad good",
        "has no labels to train on",
        files={"moods.csv": ROWS_OF_MOODS},
        obeys=f"{STREAM} --train_file moods.csv --class_names bad good --label_column_name mood",
    ),
    refused(
        "a data set that is not there",
        f"{MODEL} --dataset_name ./fimls --output_dir out --use_cpu true",
        "--dataset_name fimls: no such folder",
        bare=True,
        files={"films/train.csv": GOOD_FILES["train.csv"]},
    ),
    refused(
        "a data set of nothing",
        f"{MODEL} --dataset_name ./films",
        "--dataset_name ./films cannot be loaded",
        bare=True,
        files={"films/notes.xyz": ""},
        obeys=f"{MODEL} --train_file train.csv",
    ),
    refused(
        "a script that loads data",
        f"{MODEL} --dataset_name ./films",
        "is a loading script",
        bare=True,
        files={"films/films.py": ""},
        obeys=f"{MODEL} --train_file train.csv",
    ),
    refused(
        "a data set that is not on this disk",
        f"{MODEL} --dataset_name someone/films",
        "the Hub cannot be reached",
        bare=True,
        obeys=f"{MODEL} --train_file train.csv",
    ),
]

PREDICT = [
    predicted(
        "predict blank lines",
        "{classifier} --file a.txt",
        "nothing to predict",
        files={"a.txt": "\n\n"},
        obeys="{classifier} --text a",
    ),
    predicted("lines of a table", "{run} --file dev.csv --pairs", "reads lines of text", obeys="{run} --file dev.csv"),
    predicted("a pair for single texts", "{run} --pair a b", "trained on single texts", obeys="{run} --text a"),
    predicted("one text for pairs", "{pairs} --text a", "trained on pairs", obeys="{pairs} --pair a b"),
    predicted(
        "stop at a gap",
        "{run} --file gap.csv --on_missing error",
        "gap.csv, line 2: the text is missing",
        files={"gap.csv": "text,n\n,1\na,2\n"},
        obeys="{run} --file gap.csv --on_missing empty",
    ),
    predicted(
        "stop at a ragged row",
        "{run} --file short.csv --on_missing error",
        "short.csv, line 2: 1 field, expected 2",
        "--on_missing empty",
        files={"short.csv": "text,n\nb\na,2\n"},
        obeys="{run} --file short.csv --on_missing empty",
    ),
    predicted(
        "a text column twice",
        "{run} --file twice.csv",
        "two columns 'text'",
        "--text_column_names text",
        files={"twice.csv": "text,text\na,b\n"},
        obeys="{run} --file twice.csv --text_column_names text",
    ),
    predicted(
        "continuations of a classifier",
        "{run} --rank a --file dev.txt",
        "is no next-sentence model",
        files={"dev.txt": "a\nb\n"},
        obeys="nsp: --seed 1",
    ),
    predicted(
        "no candidates",
        "{next_sentence} --rank a --file none.txt",
        "the file of candidates is empty",
        files={"none.txt": "\n", "some.txt": "a dog\na film\n"},
        obeys="{next_sentence} --rank a --file some.txt",
    ),
    predicted(
        "a model that is not on this disk",
        "someone/modle --text a",
        "the Hub cannot be reached",
        obeys="{one_output} --text a",
    ),
]

MANY = [
    refused(
        "a device that is not there",
        "--tasks cola --devices cuda:99",
        "--devices cuda:99: there is no such device",
        command="suite",
        obeys="--tasks cola --devices cpu --print_commands",
    ),
    refused(
        "rows in words",
        "--tasks cola --train_sizes ten --print_commands",
        "'ten' is no number of rows",
        command="suite",
        obeys="--tasks cola --train_sizes 10 all --print_commands",
    ),
    refused(
        "no shared metric",
        "a b",
        "the runs share no metric",
        command="compare",
        files={"a": finished_run, "b": run_of_seed(1, metrics=["f1_macro"])},
        obeys="a b --metric accuracy",
    ),
    refused(
        "other positive classes",
        "a b",
        "different positive classes",
        command="compare",
        files={
            f"{name}/seed{seed}": run_of_seed(seed, positive_class=positive)
            for seed in (1, 2)
            for name, positive in (("a", "acceptable"), ("b", "unacceptable"))
        },
        obeys="suite: --tasks cola --seeds 2 --positive_label acceptable --print_commands",
    ),
    refused("no recipes", "", "nothing to run", command="suite", obeys="--tasks cola rte --print_commands"),
    refused(
        "a preset alone",
        "--configs presets/stable",
        "is a preset and no run",
        command="suite",
        obeys="--tasks cola --config presets/stable --print_commands",
    ),
    refused(
        "a device twice",
        "--tasks cola --devices cpu cpu",
        "named twice",
        command="suite",
        obeys="--tasks cola --devices cpu --jobs 2 --print_commands",
    ),
    refused(
        "a grid of a range",
        "mine.yaml --task cola --data_dir . --search grid",
        "a grid needs choices",
        command="sweep",
        files={"mine.yaml": "learning_rate: {low: 1.0e-5, high: 1.0e-4, log: true}\n"},
        obeys="mine.yaml --task cola --data_dir . --search random",
        then="requires --trials",
    ),
    refused(
        "no selection",
        "bert_paper --task cola --selection_fraction 0",
        "leaves only",
        command="sweep",
    ),
    refused(
        "a file of an archive",
        "{run} --output dev.csv",
        "dev.csv exists",
        command="submission",
        obeys="{run} --output x.zip",
        then="no run of a GLUE task",
    ),
    refused(
        "no task of GLUE",
        "{run} --output x.zip",
        "no run of a GLUE task",
        command="submission",
        obeys="classify: --task cola",
        then="sentence",
    ),
    refused(
        "no shared seeds",
        "a b",
        "fewer than two are in both",
        command="compare",
        files={f"{name}/seed{seed}": run_of_seed(seed) for name, seed in (("a", 1), ("a", 2), ("b", 3), ("b", 4))},
        obeys="suite: --tasks cola --seeds 2 --print_commands",
    ),
    refused(
        "a seed twice",
        "a b",
        "a holds several runs of one seed. Keep one run of each seed there.",
        command="compare",
        files={f"{name}/seed{number}": run_of_seed(1) for name in "ab" for number in (1, 2)},
    ),
]

ADAPTERS = [
    refused(
        "an adapter on an adapter",
        "--model_name_or_path {adapter} --lora_rank 2",
        "an adapter on an adapter",
        obeys="--model_name_or_path {adapter} --lora_rank 2 --lora_merge",
    ),
]

NSP = [
    refused(
        "one document a file",
        "--document_unit file",
        "the text has 1 document: with 2 for --validation_fraction and 2 for --selection_fraction too few are left",
        command="nsp",
        obeys="--document_unit line",
    ),
    refused(
        "two documents",
        "",
        "Pass --negatives same_document --selection_fraction 0 --early_stopping_patience 0",
        command="nsp",
        files={"story.txt": "The dog ran. It was hot.\n\nThe cat sleeps. It was cold.\n"},
        obeys="--negatives same_document --selection_fraction 0 --early_stopping_patience 0",
        then="no document of four or more sentences",
    ),
    refused(
        "one document",
        f"{ALL_TRAIN} --document_unit file",
        "the text has 1 document",
        command="nsp",
        files={"two.txt": ONE_TEXT},
        obeys=f"{ALL_TRAIN} --negatives same_document",
    ),
    refused("no text", MODEL, "no text is given", command="nsp", bare=True, obeys=f"{MODEL} --text story.txt"),
    refused("an empty path", "--text ' '", "--text names an empty path", command="nsp", obeys="--text ."),
    refused(
        "no such activation",
        f"{SMALL} hidden_act=gleu",
        "no such activation. Did you mean 'gelu'",
        command="nsp",
        obeys=f"{SMALL} hidden_act=gelu",
    ),
    refused(
        "a size of nothing",
        f"{SMALL} intermediate_size=0",
        "it must be a whole number of at least 1. BERT-base has 3072",
        command="nsp",
        obeys=f"{SMALL} intermediate_size=3072",
    ),
    refused(
        "nothing to mask with",
        "--objective mlm --model_name_or_path {no_mask}",
        "the tokenizer has no mask token",
        command="nsp",
        obeys="--objective nsp --model_name_or_path {no_mask}",
    ),
    refused("a table for NSP", "--text train.csv", "reads plain text", command="nsp", obeys="--text story.txt"),
]

MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + "".join(
    f"{number % 2}\t{number}\t{number}\ta good dog number {number}\ta dog number {number}\n" for number in range(9)
)
COLA = "".join(f"gj04\t{number % 2}\t{'*' * (1 - number % 2)}\ta good dog number {number}\n" for number in range(9))
# What people do in their first hour.
NEWCOMERS = [
    refused(
        "a file without its flag",
        "train.csv",
        "'train.csv' belongs to no flag. Write --train_file train.csv",
        command="check",
        bare=True,
        obeys=f"--train_file train.csv {MODEL}",
    ),
    refused(
        "a text without its flag",
        "{one_output} 'a good film'",
        "Write --text 'a good film'",
        command="predict",
        obeys="{one_output} --text 'a good film'",
    ),
    refused(
        "a flag before the command",
        "--train_file train.csv --seed 1",
        "Write `bertlab train --train_file train.csv --seed 1`",
        command="bertlab",
        obeys=f"train --train_file train.csv {MODEL} --output_dir out --use_cpu",
    ),
    refused(
        "the name of scikit-learn",
        "--test_size 0.25",
        "--test_size: no such flag. It is called --validation_fraction here",
        obeys="--validation_fraction 0.25",
    ),
    refused(
        "the folder of another task",
        "--task cola --data_dir MRPC",
        "MRPC/train.tsv looks like a file of mrpc",
        bare=True,
        files={"MRPC/train.tsv": MRPC, "MRPC/dev.tsv": MRPC},
        obeys=f"--task mrpc --data_dir MRPC {MODEL} --output_dir out --use_cpu true",
    ),
    refused(
        "CoLA for another task",
        "--task sst2 --data_dir CoLA",
        "CoLA/train.tsv looks like a file of cola",
        bare=True,
        files={"CoLA/train.tsv": COLA, "CoLA/dev.tsv": COLA},
        obeys=f"--task cola --data_dir CoLA {MODEL} --output_dir out --use_cpu true",
    ),
    refused(
        "the best model of no evaluation",
        "--load_best_model_at_end",
        "nothing is evaluated during training",
        obeys="--load_best_model_at_end --selection_fraction 0.25",
    ),
    refused(
        "a recipe that is elsewhere",
        "--config my.yaml",
        "'my.yaml', and no such file in",
        obeys="--config presets/stable",
    ),
    refused(
        "a run that is not there",
        "runs/sotry --text a",
        "runs/sotry: no such folder",
        "'runs/story'",
        command="predict",
        files={"runs/story/config.json": "{}"},
        obeys="{one_output} --text a",
    ),
]

CASES: list[Case] = [*NEWCOMERS, *FLAGS, *SPLITS, *PREDICT, *MANY, *ADAPTERS, *NSP]
