"""Labels as written become ids, vectors or numbers in one place, and what cannot be one is refused with its line."""

import math

import pytest
from datasets import Dataset, Features, List, Value

from bertlab.cli.arguments import DataArguments
from bertlab.data import label_inference, labels
from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, SINGLE, LabelSchema
from bertlab.errors import UserError

ROWS = 20


def split(written: list) -> Dataset:
    kind = List(Value("string")) if any(isinstance(label, list) for label in written) else Value("string")
    number = Value("int64")
    rows = {"label": written, "line": range(2, len(written) + 2), "idx": range(len(written))}
    return Dataset.from_dict(rows, features=Features({"label": kind, "line": number, "idx": number}))


def infer_labels(written: list | None, declared=(), model=(), **settings) -> LabelSchema:
    train = None if written is None else split(written)
    return label_inference.infer_labels(train, DataArguments(**settings), declared, model, "train.csv")


def refusal(*args, **settings) -> str:
    with pytest.raises(UserError) as caught:
        infer_labels(*args, **settings)
    return str(caught.value)


def assigned(written: list, schema: LabelSchema, required: bool = False) -> list | None:
    found = labels.assign_labels(split(written), schema, "dev.csv", required)
    assert "label" not in found.column_names
    return found["labels"][:] if "labels" in found.column_names else None


def single(*names: str, **label_map: str) -> LabelSchema:
    return LabelSchema(SINGLE, names, {key.removeprefix("_"): value for key, value in label_map.items()})


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "1"], ("1", "9", "10")),
        (["-1", "1", "0"], ("-1", "0", "1")),
        (["1", "1.0", "2.0"], ("1", "2")),
        (["1.0", "2.0"], ("1", "2")),
        (["x", "10", "9"], ("10", "9", "x")),
    ],
)
def test_classes_found_in_training_are_sorted(written, names):
    assert infer_labels(written * ROWS) == LabelSchema(SINGLE, names, {})


def test_numbers_are_ids_only_where_somebody_declared_the_order():
    schema = infer_labels(["neg", "pos"] * ROWS)
    with pytest.raises(UserError) as caught:
        assigned(["neg", "0"], schema)
    assert "dev.csv, line 3: the label '0' is none of the 2 classes. If it is an id" in str(caught.value)
    assert "--class_names neg pos" in str(caught.value)
    assert assigned(["neg", "1"], infer_labels(["neg", "pos"] * ROWS, class_names=["neg", "pos"])) == [0, 1]


def test_declared_names_keep_their_order_and_ids_stand_for_them():
    schema = infer_labels(["1", "0", "1"], declared=("unacceptable", "acceptable"))
    assert schema.class_names == ("unacceptable", "acceptable")
    assert assigned(["1", "acceptable", "0"], schema) == [1, 1, 0]


def test_class_names_win_over_what_the_data_declares():
    assert infer_labels(["no", "yes"], declared=(), class_names=["yes", "no"]).class_names == ("yes", "no")


def test_the_models_order_wins_where_the_names_are_the_same():
    assert infer_labels(["a", "b"], model=["b", "a"]).class_names == ("b", "a")
    assert infer_labels(["a", "b"], model=["b", "c"]).class_names == ("a", "b")


def test_without_training_rows_the_models_names_are_the_space():
    assert infer_labels(None, model=["b", "a"]).class_names == ("b", "a")


def test_label_map_renames_and_merges():
    mapping = {"1": "negative", "2": "negative", "3": "neutral", "4": "positive", "5": "positive"}
    schema = infer_labels(["1", "2", "3", "4", "5"] * 4, label_map=mapping)
    assert schema.class_names == ("negative", "neutral", "positive")
    assert assigned(["5", "1.0", "positive", "3"], schema) == [2, 0, 2, 1]


def test_names_that_the_data_declares_are_renamed_too():
    declared = ("1 star", "2 stars", "3 stars", "4 stars")
    merged = ["1 star=bad", "2 stars=bad", "4 stars=good"]
    schema = infer_labels(["1 star", "4 stars"] * ROWS, declared, label_map=dict(one.split("=") for one in merged))
    assert schema.class_names == ("bad", "3 stars", "good")
    assert assigned(["2 stars", "3 stars", "4 stars"], schema) == [0, 1, 2]


def test_several_labels_asked_for_where_there_are_no_lists_get_a_warning(capsys):
    asked = "multi_label_classification"
    assert infer_labels(["a,b", "b"] * ROWS, problem_type=asked).class_names == ("a,b", "b")
    assert "warning: train.csv has no lists of labels: each row has the one label that" in capsys.readouterr().err
    assert infer_labels([["a"], ["a", "b"]] * ROWS, problem_type=asked).class_names == ("a", "b")
    assert capsys.readouterr().err == ""


def test_a_mapped_label_that_training_lacks_gets_a_warning(capsys):
    infer_labels(["1", "2"], label_map={"1": "a", "2": "b", "7": "b"})
    assert capsys.readouterr().err == "warning: --label_map: no training row has the label '7'.\n"


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [("1", ("1.0", "2.0"), 0), ("2.0", ("1", "2"), 1), ("1.00", ("1", "2"), 0), ("01", ("01", "1"), 0)],
)
def test_a_whole_number_is_the_same_label_however_it_is_written(label, names, expected):
    assert assigned([label], single(*names)) == [expected]


@pytest.mark.parametrize(
    ("label", "schema", "hint"),
    [
        ("0", single("1", "2"), "Choose from: 1, 2."),
        ("0", single("bad", "good", _1="bad", _5="good"), "Choose from: bad, good."),
        ("1.5", single("1", "2"), "merge with --label_map"),
    ],
)
def test_an_unknown_label_is_refused_with_file_and_line(label, schema, hint):
    with pytest.raises(UserError) as caught:
        assigned([schema.class_names[0], label], schema, required=True)
    message = str(caught.value)
    assert message.startswith(f"dev.csv, line 3: the label {label!r} is none of the 2 classes. ")
    assert hint in message


@pytest.mark.parametrize(
    ("written", "expected"),
    [(["a", "-1", None, "b"], [0, NO_LABEL, NO_LABEL, 1]), (["-1", "-1"], None), ([None, None], None)],
)
def test_rows_of_a_test_split_may_lack_a_label(written, expected):
    assert assigned(written, single("a", "b")) == expected


def test_minus_one_is_a_class_where_training_has_it():
    assert assigned(["-1", "1"], single("-1", "1"), required=True) == [0, 1]


def test_a_split_without_label_column_is_refused_or_passed():
    bare = split(["a"]).remove_columns("label")
    assert labels.assign_labels(bare, single("a", "b"), "dev.csv", False) is bare
    with pytest.raises(UserError, match=r"dev\.csv has no label column\. Rows without labels are for --test_file"):
        labels.assign_labels(bare, single("a", "b"), "dev.csv", True)


def test_decimals_are_a_regression_with_an_info(capsys):
    schema = infer_labels(["5.000", "0.2", "3"])
    assert (schema.kind, schema.size, schema.class_names) == (REGRESSION, 1, ())
    assert "the labels are decimal numbers: this is a regression" in capsys.readouterr().err
    assert assigned(["5.000", "-1", None], schema)[:2] == [5.0, -1.0]
    assert math.isnan(assigned(["1", None], schema)[1])


def test_a_regression_test_split_of_minus_ones_is_unlabelled():
    """STS-B's on the Hub says -1.0 in every row: a score against it would mean nothing."""
    schema = infer_labels(["5.000", "0.2", "3"])
    unlabelled = labels.assign_labels(split(["-1", "-1.0", None]), schema, "some/set", labels_required=False)
    assert not {"label", "labels"} & set(unlabelled.column_names)
    assert assigned(["-1", "-1"], schema, required=True) == [-1.0, -1.0]


@pytest.mark.parametrize(
    "settings",
    [
        {"problem_type": "single_label_classification"},
        {"class_names": ["0.5", "1.5"]},
        {"label_map": {"0.5": "low", "1.5": "high"}},
    ],
)
def test_decimals_are_classes_where_the_user_says_so(settings):
    assert infer_labels(["0.5", "1.5"] * ROWS, **settings).kind == SINGLE


def test_whole_numbers_are_a_regression_only_on_demand():
    assert infer_labels(["1", "2", "3"]).kind == SINGLE
    assert infer_labels(["1", "2", "3"], do_regression=True).kind == REGRESSION


def test_label_lists_become_vectors():
    schema = infer_labels([["b"], ["a", "b"], []])
    assert schema == LabelSchema(MULTI, ("a", "b"), {})
    assert assigned([["b"], ["b", "a"], []], schema) == [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    assert assigned([["b"], None], schema) == [[0.0, 1.0], [NO_LABEL, NO_LABEL]]


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        (([None, None],), {}, "train.csv has no labels to train on. Name the column with --label_column_name."),
        ((["yes"],), {"class_names": ["no", "yes"]}, "train.csv: every row has the label 'yes'; there is nothing"),
        (
            (["A", "B", "a", "b"],),
            {},
            "the labels 'A' and 'a' differ in case only. Merge them with --label_map a=A b=B.",
        ),
        (([["A", "b"], ["a"]],), {}, "the labels 'A' and 'a' differ in case only. Merge them with --label_map a=A."),
        (
            ([["1"], ["0", "nan"]],),
            {},
            "train.csv, line 3: the label 'nan' usually says that a label is missing (1 row with 'nan'). --drop_labels",
        ),
        (([["a"]],), {"do_regression": True}, "--problem_type regression: the labels in train.csv are lists."),
        ((None,), {}, "train.csv: no training labels are counted, so nothing says which classes there are. Name"),
        (
            (None, (), ["score"]),
            {},
            "the model has one output, 'score', and no classes. If it gives scores, pass --do",
        ),
    ],
)
def test_labels_that_cannot_be_classes_are_refused(args, settings, message):
    assert message in refusal(*args, **settings)


@pytest.mark.parametrize(
    ("written", "is_refused"),
    [
        (["wet", "dry"] * 10 + ["and so on"], True),
        (["wet", "dry"] * 10 + ["weet"], True),
        (["wet", "dry"] * 3 + ["and so on"], True),
        (["wet", "dry"] * 5 + ["weet"], True),
        (["wet", "dry"] * 3 + ["weet"], False),
        (["0", "1"] * 3 + ["half"], True),
        (["wet", "dry"] * 2 + ["and so on"], False),
        (["1", "2"] * 10 + ["3"], False),
        (["a", "b", "c"], False),
        ([*["wet"] * 90, *["dry"] * 2, "hail", "fog"], False),
    ],
)
def test_a_label_of_one_row_beside_classes_of_many_is_refused(written, is_refused):
    if is_refused:
        where = f"train.csv, line {len(written) + 1}: the label {written[-1]!r} occurs in one row only"
        assert where in refusal(written)
        assert len(infer_labels(written, label_map={written[-1]: written[-1]}).class_names) == 3
    else:
        assert written[-1] in infer_labels(written).class_names


def test_an_unknown_label_in_a_list_is_refused():
    with pytest.raises(UserError, match=r"dev\.csv, line 2: the label 'c' is none of the 2 classes\."):
        assigned([["c"]], LabelSchema(MULTI, ("a", "b"), {}), required=True)


@pytest.mark.parametrize(
    ("schema", "first"),
    [
        (single("a", "b"), "accuracy"),
        (single("a", "b", "c"), "accuracy"),
        (LabelSchema(MULTI, ("a", "b"), {}), "f1_micro"),
        (LabelSchema(REGRESSION, (), {}), "pearson"),
    ],
)
def test_every_kind_of_problem_has_metrics(schema, first):
    assert schema.default_metrics()[0] == first


def test_the_positive_class_is_that_of_the_task_and_not_of_the_order_of_a_fine_tuned_head():
    declared, model = ("not_equivalent", "equivalent"), ("equivalent", "not_equivalent")
    schema = infer_labels(["0", "1"] * ROWS, declared, model)
    assert (schema.class_names, schema.positive_class) == (model, "equivalent")
    assert assigned(["1"], schema) == [0]


def test_several_labels_in_a_cell_are_refused_with_the_flag_that_parts_them():
    settings = {"problem_type": MULTI}
    model = ("x", "y")
    with pytest.raises(UserError, match="say what separates them with --label_delimiter"):
        assigned(["x|y", "y"], infer_labels(None, model=model, **settings))
    assert assigned(["x|y", "y"], infer_labels(None, model=model, **settings, label_delimiter="|")) == [[1, 1], [0, 1]]
