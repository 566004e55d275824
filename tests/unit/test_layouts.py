"""Miniature folders of GLUE's download and of CoLA's public files load as the Hub's data sets do."""

import dataclasses
from pathlib import Path

import pytest

from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.data import dataset, file_layouts
from bertlab.errors import UserError

BOM = "\ufeff"
MNLI_TRAIN = "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label"
MNLI_DEV = "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label"


@dataclasses.dataclass(frozen=True)
class Mini:
    """Files of one task, and what must come of them: (texts…, label id) of train and of every validation split."""

    folder: str
    files: dict[str, str]
    train: list[tuple]
    validation: dict[str, list[tuple]]
    test: dict[str, list[tuple]]
    source: str | None = None


MINI = {
    "cola": Mini(
        "CoLA",
        {
            "train.tsv": 'gj04\t1\t\tHe said "no.\ngj04\t0\t*\tThem "ran.\nbc01\t1\t\tIt works.\n',
            "dev.tsv": "gj04\t0\t*\tRan the.\n",
            "test.tsv": "index\tsentence\n0\tBill whistled.\n1\tWhistled Bill the.\n",
        },
        [('He said "no.', 1), ('Them "ran.', 0), ("It works.", 1)],
        {"validation": [("Ran the.", 0)]},
        {"test": [("Bill whistled.",), ("Whistled Bill the.",)]},
        source="gj04",
    ),
    "sst2": Mini(
        "SST-2",
        {
            "train.tsv": 'sentence\tlabel\nhide "new secretions \t0\na charming journey . \t1\n',
            "dev.tsv": "sentence\tlabel\nfine . \t1\n",
            "test.tsv": "index\tsentence\n0\tuneasy mishmash\n",
        },
        [('hide "new secretions ', 0), ("a charming journey . ", 1)],
        {"validation": [("fine . ", 1)]},
        {"test": [("uneasy mishmash",)]},
    ),
    "mrpc": Mini(
        "MRPC",
        {
            "train.tsv": f'{BOM}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tA " b\t"A b\n0\t9\t1\tC\tD\n',
            "dev.tsv": f"{BOM}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tE\tF\n",
            "test.tsv": f"{BOM}index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tG\tH\n",
        },
        [('A " b', '"A b', 1), ("C", "D", 0)],
        {"validation": [("E", "F", 0)]},
        {"test": [("G", "H")]},
    ),
    "stsb": Mini(
        "STS-B",
        {
            "train.tsv": "index\tgenre\tsource1\tsentence1\tsentence2\tscore\n"
            "0\tnews\tn\tA.\tB.\t5.000\n1\tx\tn\tC\tD\t0.2\n",
            "dev.tsv": "index\tgenre\tsource1\tsentence1\tsentence2\tscore\n0\tnews\tn\tE\tF\t3\n",
            "test.tsv": "index\tgenre\tsource1\tsentence1\tsentence2\n0\tnews\tn\tG\tH\n",
        },
        [("A.", "B.", 5.0), ("C", "D", 0.2)],
        {"validation": [("E", "F", 3.0)]},
        {"test": [("G", "H")]},
        source="news",
    ),
    "qqp": Mini(
        "QQP",
        {
            # As in the download, a line break tears a row in two.
            "train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
            '1\t2\t3\tWhy?\tHow?\t0\n7\t8\t9\tWhose\n"\tWhich?\t0\n2\t4\t5\tWho?\tWho?\t1\n',
            "dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n3\t2\t3\tA?\tA?\t1\n",
            "test.tsv": "id\tquestion1\tquestion2\n0\tWhere?\tWhen?\n",
        },
        [("Why?", "How?", 0), ("Who?", "Who?", 1)],
        {"validation": [("A?", "A?", 1)]},
        {"test": [("Where?", "When?")]},
    ),
    "mnli": Mini(
        "MNLI",
        {
            "train.tsv": f"{MNLI_TRAIN}\n0\t1\t1n\tfiction\tA\tB\tneutral\tneutral\n"
            "1\t2\t2e\ttravel\tC\tD\tneutral\tentailment\n"
            "2\t3\t3c\ttravel\tE\tF\tentailment\tcontradiction\n",
            "dev_matched.tsv": f"{MNLI_DEV}\n0\t1\t1\tfiction\tG\tH" + "\tneutral" * 5 + "\tentailment\n",
            "dev_mismatched.tsv": f"{MNLI_DEV}\n0\t1\t1\tletters\tI\tJ" + "\tentailment" * 5 + "\tcontradiction\n",
            "test_matched.tsv": "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\n0\t1\t1\tfiction\tK\tL\n",
            "test_mismatched.tsv": "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\n0\t1\t1\tletters\tM\tN\n",
        },
        [("A", "B", 1), ("C", "D", 0), ("E", "F", 2)],
        {"validation_matched": [("G", "H", 0)], "validation_mismatched": [("I", "J", 2)]},
        {"test_matched": [("K", "L")], "test_mismatched": [("M", "N")]},
        source="fiction",
    ),
    "qnli": Mini(
        "QNLI",
        {
            "train.tsv": "index\tquestion\tsentence\tlabel\n"
            '0\tWhen?\t"Then.\tentailment\n1\tWho?\tThere.\tnot_entailment\n',
            "dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo.\tnot_entailment\n",
            "test.tsv": "index\tquestion\tsentence\n0\tHow?\tThus.\n",
        },
        [("When?", '"Then.', 0), ("Who?", "There.", 1)],
        {"validation": [("Why?", "So.", 1)]},
        {"test": [("How?", "Thus.")]},
    ),
    "rte": Mini(
        "RTE",
        {
            "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tnot_entailment\n1\tC\tD\tentailment\n",
            "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tE\tF\tentailment\n",
            "test.tsv": "index\tsentence1\tsentence2\n0\tG\tH\n",
        },
        [("A", "B", 1), ("C", "D", 0)],
        {"validation": [("E", "F", 0)]},
        {"test": [("G", "H")]},
    ),
    "wnli": Mini(
        "WNLI",
        {
            "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n1\tC\tD\t0\n",
            "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tE\tF\t0\n",
            "test.tsv": "index\tsentence1\tsentence2\n0\tG\tH\n",
        },
        [("A", "B", 1), ("C", "D", 0)],
        {"validation": [("E", "F", 0)]},
        {"test": [("G", "H")]},
    ),
    "cola_public": Mini(
        "raw",
        {
            "in_domain_train.tsv": "".join(f'gj04\t{i % 2}\t\tSentence {i} is "here.\n' for i in range(20)),
            "in_domain_dev.tsv": "gj04\t1\t\tGood.\n",
            "out_of_domain_dev.tsv": "clc95\t0\t*\tBad the.\n",
        },
        [(f'Sentence {i} is "here.', i % 2) for i in range(20)],
        {},
        {"out_of_domain_dev": [("Bad the.", 0)], "in_domain_dev": [("Good.", 1)]},
        source="gj04",
    ),
}

# The order of the ids in nyu-mll/glue.
HUB_NAMES = {
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "stsb": (),
    "qqp": ("not_duplicate", "duplicate"),
    "mnli": ("entailment", "neutral", "contradiction"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "wnli": ("not_entailment", "entailment"),
    "cola_public": ("unacceptable", "acceptable"),
}


def written(root: Path, mini: Mini) -> Path:
    folder = root / mini.folder
    folder.mkdir(parents=True)
    for name, text in mini.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def arguments_of(task: str, folder: Path) -> DataArguments:
    argv = ["--task", task, "--data_dir", str(folder)]
    return parser.parse(argv, (DataArguments, ModelArguments, RunArguments), "usage")[DataArguments]


def load(arguments: DataArguments, training: bool = True, model_names: tuple[str, ...] = ()) -> dataset.Data:
    return dataset.load_splits(arguments, model_names, training=training, cache_dir=None, token=None)


def rows(split) -> list[tuple]:
    columns = [name for name in ("text", "text_pair", "labels") if name in split.column_names]
    return list(zip(*(split[name][:] for name in columns), strict=True))


def test_every_layout_but_the_diagnostic_one_is_tried_here():
    assert {name.removeprefix("glue/") for name in file_layouts.LAYOUTS} == {*MINI, "ax"}


@pytest.mark.parametrize("task", MINI)
@pytest.mark.parametrize("parent", [False, True], ids=["folder", "parent"])
def test_a_download_loads_as_on_the_hub(task, parent, tmp_path):
    mini = MINI[task]
    folder = written(tmp_path, mini)
    arguments = dataclasses.replace(arguments_of(task, tmp_path if parent else folder), validation_fraction=0.0)
    loaded = load(arguments)
    assert loaded.schema.class_names == HUB_NAMES[task]
    assert loaded.train == "train" and rows(loaded.splits["train"]) == mini.train
    assert loaded.validation == tuple(mini.validation)
    assert loaded.test == tuple(mini.test)
    for name, expected in {**mini.validation, **mini.test}.items():
        assert rows(loaded.splits[name]) == expected, name
        assert loaded.splits[name]["idx"][:] == list(range(len(expected)))
    assert ("source" in loaded.splits["train"].column_names) == (mini.source is not None)
    if mini.source is not None:
        assert loaded.splits["train"]["source"][0] == mini.source
    assert loaded.origin["train"].endswith(next(name for name in mini.files if "train" in name))


def test_ragged_rows_of_qqp_are_counted(tmp_path, capsys):
    loaded = load(arguments_of("qqp", written(tmp_path, MINI["qqp"])))
    assert loaded.dropped == {"train": 2}
    assert "train.tsv: 2 of 4 rows are left out, which lack" in capsys.readouterr().err


def test_cola_public_is_cut_as_its_recipe_says(tmp_path):
    loaded = load(arguments_of("cola_public", written(tmp_path, MINI["cola_public"])))
    assert loaded.validation == ("validation",) and loaded.test == ("out_of_domain_dev", "in_domain_dev")
    assert (len(loaded.splits["train"]), len(loaded.splits["validation"])) == (18, 2)


def test_the_diagnostic_set_takes_the_classes_of_the_model(tmp_path):
    mini = Mini("diagnostic", {"diagnostic.tsv": "index\tsentence1\tsentence2\n0\tA\tB\n1\tC\tD\n"}, [], {}, {})
    folder = written(tmp_path, mini)
    loaded = load(arguments_of("ax", folder), training=False, model_names=HUB_NAMES["mnli"])
    assert (loaded.train, loaded.validation, loaded.test) == (None, (), ("test",))
    assert rows(loaded.splits["test"]) == [("A", "B"), ("C", "D")]
    assert loaded.schema.class_names == HUB_NAMES["mnli"]


def test_mrpcs_original_file_names_are_known_and_come_second(tmp_path):
    folder = written(tmp_path, MINI["mrpc"])
    (folder / "train.tsv").rename(folder / "msr_paraphrase_train.txt")
    found = file_layouts.find_files(file_layouts.LAYOUTS["glue/mrpc"], folder)
    assert found["train"].name == "msr_paraphrase_train.txt"
    (folder / "train.tsv").touch()
    assert file_layouts.find_files(file_layouts.LAYOUTS["glue/mrpc"], folder)["train"].name == "train.tsv"


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: root / "CoLa", "/CoLA'?"),
        (lambda root: root / "CoLA" / "train.tsv", "train.tsv: no such folder."),
        (lambda root: root / "other", "none of train.tsv, dev.tsv, test.tsv is there, only a.txt. Name the task's"),
        (lambda root: root / "empty", "none of train.tsv, dev.tsv, test.tsv is there, the folder is empty."),
    ],
)
def test_a_folder_without_the_files_is_refused(prepare, message, tmp_path):
    written(tmp_path, MINI["cola"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        file_layouts.find_files(file_layouts.LAYOUTS["glue/cola"], prepare(tmp_path))
    assert message in str(caught.value) and str(caught.value).startswith("--data_dir ")


def test_an_unknown_layout_is_refused():
    with pytest.raises(UserError, match=r"--data_layout glue/kola: there is no such layout\. Did you mean 'glue/cola'"):
        file_layouts.find_layout("glue/kola")


def test_a_folder_without_a_layout_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Name a --task or a --data_layout: glue/cola, "):
        load(DataArguments(data_dir=str(tmp_path)))


# Rows of train, validation and test in the real downloads.
REAL = {
    "cola": ("glue/CoLA", [8551, 1043, 1063]),
    "sst2": ("glue/SST-2", [67349, 872, 1821]),
    "mrpc": ("glue/MRPC", [3668, 408, 1725]),
    "stsb": ("glue/STS-B", [5749, 1500, 1379]),
    "rte": ("glue/RTE", [2490, 277, 3000]),
    "cola_public": ("cola_public", [7695, 856, 516, 527]),
}


@pytest.mark.parametrize("task", REAL)
def test_the_real_download_has_its_known_size(task, real_data):
    folder, sizes = REAL[task]
    loaded = load(arguments_of(task, real_data / folder))
    names = ["train", *loaded.validation, *loaded.test]
    found = [len(loaded.splits[name]) for name in names]
    # A copy of MRPC that goes around lacks one training row.
    assert found == sizes or (task == "mrpc" and found == [sizes[0] - 1, *sizes[1:]])
    labelled = ["labels" in loaded.splits[name].column_names for name in names]
    assert labelled == ([True] * 4 if task == "cola_public" else [True, True, False])
