"""report.html: valid, self-contained, safe, and without sections that a run has no data for."""

import json
import re
from html.parser import HTMLParser

import pytest
from finished_runs import LONG, SCRIPT, finished_run

from bertlab.report import html, model_card, scores
from bertlab.report.run_folder import RunFolder

pytestmark = pytest.mark.slow

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A parsed page: start tags with attributes, text outside of scripts, and whatever does not nest."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.open, self.wrong, self.text = [], [], [], []
        self.feed(source)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.wrong.append(f"attribute given twice in {self.get_starttag_text()}")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def render(folder, drawn=False):
    """Return the page of a run, without the plots unless `drawn`: they take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(html.plots, "render_plots", lambda *_: {})
        return html.render(RunFolder.read(folder))


CASES = {
    "binary": ("binary", {}),
    "three": ("three", {}),
    "multi": ("multi", {}),
    "regression": ("regression", {}),
    "unlabelled": ("binary", {"labelled": False}),
    "untrained": ("three", {"trained": False}),
}


@pytest.fixture(scope="module", params=CASES)
def rendered(request, tmp_path_factory):
    kind, settings = CASES[request.param]
    return request.param, render(finished_run(tmp_path_factory.mktemp(request.param), kind, **settings), drawn=True)


def test_the_page_is_well_formed(rendered):
    _, source = rendered
    parsed = Page(source)
    assert source.startswith("<!DOCTYPE html>") and not parsed.wrong
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    inputs = {attrs["id"] for tag in ("select", "input") for attrs in parsed.all(tag)}
    assert {attrs["for"] for attrs in parsed.all("label")} == inputs
    named = {name for _, attrs in parsed.tags for name in attrs.get("aria-labelledby", "").split()}
    targets = {attrs["href"][1:] for attrs in parsed.all("a")}
    assert named | targets <= set(ids)
    assert all(attrs.get("aria-label") for attrs in parsed.all("svg")) and not parsed.all("img")
    assert all(attrs.get("scope") for attrs in parsed.all("th"))
    assert [tag for tag, _ in parsed.tags].count("h1") == 1
    assert "Undefined" not in source and "None" not in parsed.words and "nan" not in parsed.words.split()


def test_the_page_fetches_nothing(rendered):
    _, source = rendered
    for _, attrs in Page(source).tags:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in source


def test_a_section_needs_its_data(rendered):
    case, source = rendered
    parsed, words = Page(source), Page(source).words
    assert ("Confusion matrix" in words) == (case in ("binary", "three", "untrained"))
    assert ("By class" in words) == (case not in ("regression", "unlabelled"))
    assert ("calibration error" in words) == (case not in ("regression", "unlabelled"))
    assert ('id="misclassified"' in source) == (case != "unlabelled")
    assert ('id="training"' in source) == (case != "untrained")
    assert ("so there are no scores" in words) == (case == "unlabelled")
    assert ("No baseline was scored" in words) == (case == "untrained")
    assert ("Largest errors" in words) == (case == "regression")
    assert len(parsed.all("select")) == {"unlabelled": 0, "regression": 1}.get(case, 3)
    assert "test: 7 predictions without labels" in words


def test_the_policy_lets_exactly_our_script_run(rendered):
    _, source = rendered
    script = source[source.index("<script>") + len("<script>") : source.index("</script>")]
    assert f"script-src '{html.script_hash(script)}'" in source


def test_a_text_is_shown_and_never_run(tmp_path):
    source = render(finished_run(tmp_path, "multi", skill=0.1))
    parsed = Page(source)
    assert len(parsed.all("script")) == 1 and all("example.com" not in str(attrs) for attrs in parsed.all("img"))
    assert SCRIPT in parsed.words and "&lt;script&gt;" in source
    cells = [json.loads(attrs["data-true"]) for attrs in parsed.all("tr") if "data-true" in attrs]
    assert cells and all(isinstance(cell, list) for cell in cells)


def test_a_long_text_is_folded_and_cut(tmp_path):
    longest = LONG * 20
    parsed = Page(render(finished_run(tmp_path, "binary", skill=0, texts=(longest,))))
    assert f"({len(longest.strip()):,} characters; the rest is in misclassified/validation.tsv)" in parsed.words
    assert longest[: html.SHOWN_CHARACTERS].strip() in parsed.words


def test_a_text_is_folded_between_words():
    assert html.beginning("word " * 100) == "word " * 47 + "word"
    assert html.beginning("x" * 1000) == "x" * html.SHOWN_CHARACTERS


def test_a_predicted_number_has_few_digits(tmp_path):
    cells = re.findall(r'data-label="predicted: "[^>]*>([^<]*)<', render(finished_run(tmp_path, "regression")))
    assert len(cells) == 12 and all(re.fullmatch(r"-?\d\.\d{3}", cell) for cell in cells)


def test_several_labels_may_break_into_lines(tmp_path):
    source = render(finished_run(tmp_path, "multi", skill=0.1))
    assert re.search(r'data-label="true: ">joy \| anger', source)


def test_fitted_thresholds_are_in_the_table_of_classes(tmp_path):
    folder = finished_run(tmp_path, "multi")
    assert ">threshold</th>" not in render(folder)
    results = json.loads((folder / "results.json").read_text())
    results["thresholds"] = [0.125, 0.25, 0.375, 0.625]
    (folder / "results.json").write_text(json.dumps(results))
    source = render(folder)
    assert '<th scope="col" class="num">threshold</th>' in source
    assert re.search(r'<th scope=row>anger</th>.*<td class="num">0\.250</td></tr>', source)


def test_every_region_has_a_name_of_its_own(rendered):
    _, source = rendered
    parsed = Page(source)
    titles = dict(re.findall(r'<h2 id="([^"]+)">([^<]*)</h2>', source))
    regions = [attrs for tag, attrs in parsed.tags if tag == "section" or attrs.get("role") == "region"]
    names = [attrs.get("aria-label") or titles[attrs["aria-labelledby"]] for attrs in regions]
    assert len(set(names)) == len(names) > 4


def test_only_so_many_misclassified_examples_are_shown(tmp_path):
    source = render(finished_run(tmp_path, "binary", rows=1500, skill=0))
    rows = [attrs for attrs in Page(source).all("tr") if "data-split" in attrs]
    assert len(rows) == html.MISCLASSIFIED_PER_SPLIT
    assert "(the first 200 are on this page; all are in <code>misclassified/validation.tsv</code>)" in source


def verdicts(folder, value, low, high, gap=(0.1, 0.2), published=None, metric="accuracy"):
    """Return the verdicts on a run with this score, interval, difference to its baseline and published value."""
    results = json.loads((folder / "results.json").read_text())
    results["metrics"] = [metric]
    split = results["splits"]["validation"]
    split["metrics"] = {metric: {"value": value, "low": low, "high": high, "n": 50}}
    difference = {} if gap is None else {"difference": {metric: dict(zip(("low", "high"), gap, strict=True))}}
    split["baselines"] = {"tfidf": {"how": "words", "metrics": {metric: 0.6}, **difference}}
    results["published"]["values"] = {} if published is None else {metric: published}
    (folder / "results.json").write_text(json.dumps(results))
    return scores.verdicts(results)


@pytest.mark.parametrize(
    ("gap", "kind", "words"),
    [
        ((0.1, 0.3), "above", "significantly better than every baseline"),
        ((-0.1, 0.3), "level", "not significantly different from the baseline “TF-IDF + logistic regression”"),
        ((-0.2, -0.1), "below", "significantly worse than the baseline “TF-IDF + logistic regression”"),
        (None, "unknown", "not compared with a baseline"),
    ],
)
def test_the_verdict_is_beside_the_number_on_page_and_card(tmp_path, gap, kind, words):
    folder = finished_run(tmp_path, "binary")
    verdicts(folder, 0.8, 0.7, 0.9, gap)
    assert scores.standing(json.loads((folder / "results.json").read_text())) == (kind, words)
    source, card = render(folder), model_card.render(RunFolder.read(folder))
    assert f'class="headline {kind}"' in source and f'<strong class="verdict">{words}</strong>' in source
    assert f"examples): {words}.\n" in card


def test_the_worst_of_several_baselines_is_the_verdict(tmp_path):
    results = json.loads((finished_run(tmp_path, "binary") / "results.json").read_text())
    split, metric = results["splits"]["validation"], results["metrics"][0]
    gaps = {"majority": (0.1, 0.2), "tfidf": (-0.3, -0.1), "before_training": (-0.1, 0.1)}
    split["baselines"] = {
        name: {"how": "", "metrics": {metric: 0.5}, "difference": {metric: {"low": low, "high": high}}}
        for name, (low, high) in gaps.items()
    }
    assert scores.standing(results).words == "significantly worse than the baseline “TF-IDF + logistic regression”"
    # Of several that the model is worse than, the best.
    for name, value in {"majority": 0.8, "tfidf": 0.99}.items():
        worse = {"low": -0.6, "high": -0.1}
        split["baselines"][name] = {"how": "", "metrics": {metric: value}, "difference": {metric: worse}}
    assert scores.standing(results).words == "significantly worse than the baseline “TF-IDF + logistic regression”"


def test_what_was_selected_is_on_page_and_card(tmp_path):
    folder = finished_run(tmp_path, "multi", best_step=80)
    results = json.loads((folder / "results.json").read_text())
    fitted = {"threshold": 0.125, "score": 0.75, "score_at_half": 0.5}
    results["threshold"] = {"scored_by": "f1", "rows": 50, "classes": {"$5 | <b>": fitted}}
    (folder / "results.json").write_text(json.dumps(results))
    words = Page(render(folder)).words
    for sentence in (
        "The weights are those of epoch 2 of 3 (step 80), selected by micro F1 on validation (0.500).",
        "Scores on the selection split (50 examples): micro F1 0.500, accuracy 0.500.",
        "Logits are divided by the temperature 0.800, fitted on 50 examples of the selection split.",
        "Threshold of '$5 | <b>': 0.125, fitted on 50 selection examples: F1 is 0.750 there, and 0.500 with a "
        "threshold of 0.5.",
    ):
        assert sentence in words
        assert sentence.replace("|", "\\|").replace("<", "&lt;") in model_card.render(RunFolder.read(folder))
    assert "2.00 (selected)" in words and "1.00 (selected)" not in words
    last = Page(render(finished_run(tmp_path / "last", "multi"))).words
    assert "The weights are those of the end of training, after epoch 3; no epoch was selected." in last


def test_no_difference_is_claimed_inside_the_interval(tmp_path):
    folder = finished_run(tmp_path, "binary")
    above = verdicts(folder, 0.8, 0.7, 0.9, (0.1, 0.3))
    assert above[0] == (
        "This model is significantly better than the baseline “TF-IDF + logistic regression” (0.600): "
        "+0.200, 95% CI +0.100 to +0.300."
    )
    assert verdicts(folder, 0.8, 0.7, 0.9, (-0.2, -0.1))[0].startswith(
        "This model is significantly worse than the base"
    )
    assert verdicts(folder, 0.8, 0.7, 0.9, (-0.1, 0.3))[0].startswith(
        "This model is not significantly different from the"
    )
    assert verdicts(folder, 0.8, None, None) == [
        "Nothing is compared: 50 examples, too few or scored all alike, give no confidence interval."
    ]
    assert "not of the seed" in above[-1]


def test_a_baseline_without_an_interval_is_not_comparable(tmp_path):
    """As in the folders of earlier versions."""
    folder = finished_run(tmp_path, "binary")
    assert (
        verdicts(folder, 0.8, 0.7, 0.9, None)[0]
        == "This model is not comparable with the baseline “TF-IDF + logistic regression” (0.600)."
    )


def test_a_smaller_error_is_better(tmp_path):
    folder = finished_run(tmp_path, "regression")
    assert verdicts(folder, 0.5, 0.4, 0.6, (-2.0, -1.0), metric="mse")[0].startswith(
        "This model is significantly better"
    )
    assert (
        "significantly worse than the published value (0.100"
        in verdicts(folder, 0.5, 0.4, 0.6, published=0.1, metric="mse")[1]
    )


def test_the_published_value_is_compared(tmp_path):
    folder = finished_run(tmp_path, "binary")
    assert "significantly worse than the published value (0.900" in verdicts(folder, 0.8, 0.7, 0.85, published=0.9)[1]
    assert "not significantly different from the published" in verdicts(folder, 0.8, 0.7, 0.9, published=0.75)[1]
    worse = verdicts(folder, 0.8, 0.7, 0.9, published=0.5)[1]
    assert "significantly better than the published" in worse and "a paper, table 2" in worse


def test_the_headline_stays_on_its_scale(tmp_path):
    folder = finished_run(tmp_path, "binary")
    verdicts(folder, -0.2, -0.4, 0.1, published=0.9)
    for bar in html.headline(RunFolder.read(folder)):
        assert all(0 <= place <= 100 for place in (bar.left, *bar.interval))


@pytest.mark.parametrize("bound", [float("nan"), None])
def test_a_score_without_an_interval_has_none_in_the_table(bound):
    split = {"metrics": {"mse": {"value": 1.0, "low": bound, "high": bound, "n": 1}}}
    split["baselines"] = {"tfidf": {"metrics": {"mse": 2.0}}}
    header, rows = scores.score_table({"metrics": ["mse"], "splits": {"test": split}})
    assert header == ["split", "metric", "score", "95% CI", "n", "TF-IDF + ridge regression"]
    assert rows == [["test", "mean squared error", 1.0, None, 1, 2.0]]


def test_a_count_has_no_decimals():
    assert [scores.score(value) for value in (0.5, 12380, None)] == ["0.500", "12,380", "–"]
