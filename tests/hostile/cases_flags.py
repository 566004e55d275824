"""Flags: unknown, misspelt, abbreviated, of the wrong type, out of range, contradictory; and the subcommands' own."""

from bad_input import Case, refused

from bertlab.io import package_folder

# Why an export that is asked for as a hint says is refused here.
NO_ONNX = "" if package_folder("onnx") else "export needs"

SPELLING = [
    refused("unknown", "--colour blue", "--colour: no such flag", "--help-all", obeys="--seed 1"),
    refused("misspelt", "--learning_rte 3e-5", "--learning_rte: no such flag", "'learning_rate'"),
    refused(
        "word before flags",
        "train.csv --seed 1",
        "'train.csv' belongs to no flag",
        bare=True,
        obeys="--train_file train.csv --seed 1 --model_name_or_path {model} --max_seq_length 32 --use_cpu",
    ),
    refused(
        "old and new name", "--eval_strategy epoch --evaluation_strategy no", "given twice", notes=("--evaluation",)
    ),
    refused("no command", "tarin", "no command 'tarin'", command="bertlab", then="no model is named"),
    refused("command misspelt", "chekc", "no command 'chekc'", "'check'", command="bertlab", then="no model is named"),
    refused("nsp misspelt", "--negative other_document", "--negative", "'negatives'", command="nsp"),
    refused("nsp flag of the other script", "--label_map 0=a", "--label_map: no such flag", command="nsp", obeys=""),
    refused("check misspelt", "--lable_column_name x", "'label_column_name'", command="check", then="no column 'x'"),
]

TYPES = [
    refused("names in a regression", "--do_regression --label_map 1=a", "--label_map conflicts with --do_regression"),
    refused(
        "several labels in a regression",
        "--problem_type regression --label_delimiter ,",
        "--label_delimiter conflicts with --problem_type regression",
    ),
    refused("wrong choice", "--class_weights balance", "'balance'", "'balanced'"),
    refused(
        "no weight",
        "--class_weights good=0",
        "--class_weights good: 0 is out of range",
        "above 0",
        obeys="--class_weights good=0.5",
    ),
    refused("wrong optimiser", "--optim adamv_torch", "'adamv_torch'", "'adamw_torch'"),
    refused("broken JSON", "--lr_scheduler_kwargs {num_cycles:2}", "--lr_scheduler_kwargs", "JSON"),
    refused(
        "JSON of the wrong kind",
        "--lr_scheduler_kwargs [1]",
        "--lr_scheduler_kwargs",
        "neither a JSON object nor a file",
    ),
    refused(
        "kwargs that the schedule has not",
        """--lr_scheduler_type cosine --lr_scheduler_kwargs '{"cycles": 2}'""",
        "cosine",
        "'cycles'",
        "'num_cycles'",
        obeys="--lr_scheduler_type cosine --lr_scheduler_kwargs '{\"num_cycles\": 2}'",
    ),
    refused(
        "schedule without its setting",
        "--lr_scheduler_type cosine_with_min_lr",
        "cosine_with_min_lr",
        "min_lr",
        obeys="--lr_scheduler_type cosine_with_min_lr --lr_scheduler_kwargs '{\"min_lr\": 1e-7}'",
    ),
    refused(
        "schedule without an argument",
        "--lr_scheduler_type warmup_stable_decay",
        "num_decay_steps",
        obeys="--lr_scheduler_type warmup_stable_decay --lr_scheduler_kwargs '{\"num_decay_steps\": 2}'",
    ),
    refused(
        "a schedule's own argument",
        """--lr_scheduler_type cosine --lr_scheduler_kwargs '{"num_warmup_steps": 3}'""",
        "--lr_scheduler_kwargs",
        "--warmup_steps",
        obeys="--lr_scheduler_type cosine --warmup_steps 3",
    ),
    refused("missing JSON file", "--accelerator_config missing.json", "--accelerator_config", "missing.json"),
    refused("optimiser not installed", "--optim adamw_bnb_8bit", "--optim adamw_bnb_8bit", "bitsandbytes", obeys=""),
    refused(
        "tracker not installed",
        "--report_to wadnb",
        "--report_to wadnb",
        "no such tracker",
        "'wandb'",
        then="--report_to wandb: it is not installed",
    ),
    refused("metric unknown", "--metric_name acuracy", "--metric_name", "'acuracy'", "'accuracy'"),
    refused("metric that does not fit", "--metric_name pearson", "pearson", "--metric_name", obeys="--metric_name f1"),
    refused(
        "nsp policy", "--pairs everything", "--pairs: 'everything'", "all", command="nsp", obeys="--pairs segments"
    ),
]

RANGES = [
    refused(
        "learning rate",
        "--learning_rate -1e-5",
        "--learning_rate: -1e-5 is out of range. It must be from 0 to 1.",
        obeys="--learning_rate 0",
    ),
    refused(
        "nsp fraction",
        "--negative_fraction 2",
        "--negative_fraction",
        "from 0.01 to 0.99",
        command="nsp",
        obeys="--negative_fraction 0.5",
    ),
]

CONTRADICTIONS = [
    refused("two precisions", "--bf16 --fp16", "--bf16", "--fp16", "one of them"),
    refused("half precision on a CPU", "--precision fp16", "fp16", "CPU", obeys="--precision bf16"),
    refused(
        "two full evaluations",
        "--bf16_full_eval --fp16_full_eval",
        "bf16",
        "fp16",
        "full eval",
        obeys="--bf16_full_eval",
    ),
    refused(
        "no evaluation split",
        "--eval_strategy epoch",
        "--eval_strategy epoch",
        "--validation_file",
        obeys="--eval_strategy epoch --validation_file dev.csv",
    ),
    refused(
        "best of unequal steps",
        "--validation_file dev.csv --load_best_model_at_end --eval_strategy steps --save_strategy epoch",
        "--load_best_model_at_end",
        "--save_strategy",
        notes=("the best epoch",),
        obeys="--validation_file dev.csv --load_best_model_at_end --eval_strategy epoch",
    ),
    refused(
        "best by an unknown metric",
        "--selection_fraction 0.5 --metric_for_best_model acuracy",
        "--metric_for_best_model",
        "'accuracy'",
    ),
    refused("TF32 on a CPU", "--tf32 true", "--tf32", "GPU", obeys=""),
    refused(
        "a batch of unequal parts",
        "--global_batch_size 33 --gradient_accumulation_steps 2",
        "33",
        "Pass 32 or 34.",
        obeys="--global_batch_size 34 --gradient_accumulation_steps 2",
    ),
    refused("two batches", "--global_batch_size 32 --per_device_train_batch_size 32", "--per_device_train_batch_size"),
    refused(
        "no batch is full",
        "--dataloader_drop_last --per_device_train_batch_size 999",
        "--dataloader_drop_last",
        obeys="--dataloader_drop_last --per_device_train_batch_size 2",
    ),
    refused(
        "weights of scores",
        "--do_regression --class_weights balanced",
        "--class_weights",
        notes=("new, untrained weights",),
        files={"train.csv": "text,label\na,1\nb,2.5\nc,3\n"},
    ),
    refused(
        "weight of no class",
        "--class_weights postive=2",
        "'postive'",
        "'positive'",
        obeys="--class_weights positive=2",
        notes=("new, untrained weights",),
        files={"train.csv": "text,label\na,positive\nb,negative\nc,positive\nd,negative\n"},
    ),
    refused(
        "classes of scores",
        "--do_regression --class_names a b",
        "regression",
        "--class_names",
        files={"train.csv": "text,label\na,1\nb,2.5\nc,3\n"},
    ),
    refused(
        "cut and given",
        "--validation_file dev.csv --validation_fraction 0.2",
        "--validation_fraction",
        obeys="--validation_file dev.csv --validation_fraction 0.2 --remove_splits validation",
    ),
    refused(
        "two files for one split",
        "--validation_file dev.csv --validation_split_name train",
        "train.csv and dev.csv are both the split 'train'",
    ),
    refused(
        "split name that leads out",
        "--validation_file dev.csv --validation_split_name ../../precious --do_eval",
        "the split name '../../precious' cannot be the name of a file",
        files={"precious.tsv": "mine\n"},
    ),
    refused("split name of a folder", "--train_split_name a\\\\b", "the split name 'a\\\\b'"),
    refused("split name hidden", "--test_file dev.csv --test_split_name .tests", "the split name '.tests'"),
    refused("split name of nothing", "--validation_file dev.csv --validation_split_name ' '", "the split name ' '"),
    refused("split name too long", f"--train_split_name {'x' * 300}", "cannot be the name of a file"),
    refused(
        "split name of a recipe",
        "--config mine.yaml --validation_file dev.csv",
        "the split name '/tmp/precious'",
        files={"mine.yaml": "validation_split_name: /tmp/precious\n"},
    ),
    refused("all splits removed", "--remove_splits train", "--remove_splits leaves no split"),
    refused(
        "no such split",
        "--validation_file dev.csv --validation_split_name dev --test_split_name dve",
        "--test_split_name",
        "'dve'",
        "'dev'",
        obeys="--validation_file dev.csv --validation_split_name dev --test_split_name dev",
        then="is named for validation and for test",
    ),
    refused(
        "vocabulary of a trained model",
        "--train_tokenizer 200",
        "--train_tokenizer",
        "--from_scratch",
        command="nsp",
        obeys="--train_tokenizer 200 --from_scratch",
    ),
]

SUBCOMMANDS = [
    refused("predict without model", "--text a", "MODEL is missing", command="predict"),
    refused("predict misspelt", "{classifier} --txt a", "--txt", "'text'", command="predict"),
    refused("predict abbreviated", "{classifier} --form tsv --text a", "--form", "'format'", command="predict"),
    refused(
        "predict in another format",
        "{classifier} --format cvs --text a",
        "--format",
        "'cvs'",
        "tsv",
        command="predict",
        obeys="{classifier} --format tsv --text a",
    ),
    refused(
        "predict a word for a length",
        "{classifier} --max_seq_length long --text a",
        "--max_seq_length",
        "'long'",
        command="predict",
    ),
    refused("predict half a pair", "{classifier} --pair a", "--pair", "2", command="predict"),
    refused(
        "predict nothing",
        "{classifier} --file -",
        "standard input is empty",
        "--text",
        command="predict",
        obeys="{classifier} --text a",
    ),
    refused(
        "predict a missing file",
        "{classifier} --file dve.csv",
        "dve.csv does not exist",
        "'dev.csv'",
        command="predict",
    ),
    refused(
        "predict a missing column",
        "{classifier} --file dev.csv --text_column_names txt",
        "dev.csv has no column 'txt'",
        "'text'",
        command="predict",
    ),
    refused(
        "predict the label",
        "{classifier} --file dev.csv --text_column_names text label",
        "'label' is named as text and as label",
        "dev.csv has",
        command="predict",
    ),
    refused("predict pairs without tab", "{classifier} --file story.txt --pairs", "--pairs", "tab", command="predict"),
    refused("predict with an unfinished model", "{model} --text a", "not a classifier", command="predict"),
    refused(
        "predict beyond the positions",
        "{classifier} --text a --max_seq_length 500",
        "--max_seq_length 500",
        "64 positions",
        command="predict",
        obeys="{classifier} --text a --max_seq_length 64",
    ),
    refused(
        "predict too short",
        "{classifier} --text a --max_seq_length 0",
        "--max_seq_length 0",
        command="predict",
        obeys="{classifier} --text a --max_seq_length 5",
    ),
    refused(
        "export misspelt",
        "old --format onnx --valdate",
        "--valdate",
        "no such flag",
        command="export",
        obeys="{run} --output onnx",
        then=NO_ONNX,
    ),
    refused(
        "export of no run",
        "./rnus --format onnx",
        "rnus: no such folder",
        command="export",
        obeys="{run} --output onnx",
        then=NO_ONNX,
    ),
    refused(
        "submission misspelt",
        "old --splt test",
        "--splt",
        "no such flag",
        command="submission",
        obeys="{run} --output x.zip",
        then="no run of a GLUE task",
    ),
    refused("report of nothing", "", "RUN", command="report", obeys="{run}"),
    refused("report of no folder", "rnus", "rnus: no such folder", command="report", obeys="{run}"),
    refused(
        "report of no run", ".", "not a finished run", "results.json", command="report", obeys="classify: --resume auto"
    ),
    refused(
        "report of broken results",
        "old",
        "old/results.json cannot be read",
        command="report",
        files={"old/results.json": '{"splits": {', "old/run.json": "{}"},
    ),
    refused(
        "report of foreign results",
        "old",
        "results.json",
        command="report",
        files={"old/results.json": "{}", "old/run.json": "{}"},
    ),
    refused("compare one", "a", "RUN_B", command="compare"),
    refused("compare no folders", "a b", "a: no such folder", command="compare", obeys="{run} {run}"),
    refused("compare misspelt", "a b --splt dev", "--splt", "'split'", command="compare", then="a: no such folder"),
    refused("recipes misspelt", "show colaa", "no recipe 'colaa'", "'cola'", command="recipes"),
    refused(
        "recipes of another kind",
        "list cola",
        "recipes list cola",
        "recipes show NAME",
        command="recipes",
        obeys="show cola",
    ),
]

CASES: list[Case] = [*SPELLING, *TYPES, *RANGES, *CONTRADICTIONS, *SUBCOMMANDS]
