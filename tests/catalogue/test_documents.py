"""What the documents tell the reader to type is understood, what they link to exists, their tables are current."""

import ast
import itertools
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

import run_classification
import run_nsp
from bertlab.__main__ import COMMANDS
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, RunArguments
from bertlab.cli.help import help_text
from bertlab.commands import check, compare, export, predict, predict_inputs, recipes, report, submission, suite, sweep
from bertlab.evaluation.metrics import METRICS
from tools import ledger

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "data").glob("*/README.md")),
]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
# Usages that the scripts and commands print themselves.
USAGES = {
    "run_classification.py": run_classification.__doc__,
    "run_nsp.py": run_nsp.__doc__,
    "check": check.USAGE,
    **{command.__name__: command.__doc__ for command in (compare, export, predict, recipes, report, submission, suite)},
    "sweep": sweep.__doc__,
}
BLOCKS = re.compile(r"```(?:bash|sh)\n(.*?)```", re.DOTALL)
GROUPS = {
    "run_classification.py": (DataArguments, ModelArguments, RunArguments),
    "run_nsp.py": (NspArguments, ModelArguments, RunArguments),
}
SHELL = ("cat", "pip", "pre-commit", "python3")
LINK = re.compile(r"\]\((?!https?:)(?P<file>[^)\s#]*)#?(?P<anchor>[^)\s]*)\)")


def commands(text: str) -> list[list[str]]:
    """Return the commands of all shell blocks, without comments; of a pipe and of `a && b` the last one."""
    argvs = []
    for block in BLOCKS.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            # HF_HUB_OFFLINE=1 and the like before a command.
            argv = list(itertools.dropwhile(re.compile(r"[A-Z_]+=").match, shlex.split(line, comments=True)))
            while "|" in argv or "&&" in argv:
                argv = argv[min(argv.index(mark) for mark in ("|", "&&") if mark in argv) + 1 :]
            if argv:
                argvs.append(argv)
    return argvs


def indented(usage: str) -> str:
    """Return the commands of a usage, which its help page indents, as a shell block."""
    lines = [line for line in help_text((), usage).splitlines() if line.startswith("    ")]
    return "\n".join(["```bash", *lines, "```"])


SHOWN = [(path, argv) for path in DOCUMENTS for argv in commands(path.read_text(encoding="utf-8"))]
SHOWN += [(Path(name), argv) for name, usage in USAGES.items() for argv in commands(indented(usage or ""))]
STEPS = [step for job in yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values() for step in job["steps"]]
SHOWN += [(WORKFLOW, shlex.split(step["run"])) for step in STEPS if "run" in step]


def test_there_are_commands_to_look_at():
    assert len(SHOWN) > 30


@pytest.mark.parametrize(("path", "argv"), SHOWN, ids=[" ".join(argv)[:60] for _, argv in SHOWN])
def test_every_command_shown_is_understood(path, argv, tmp_path, monkeypatch, capsys):
    if argv[0] == "make":
        assert re.search(rf"^{argv[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    if argv[0] == "bertlab":
        argv = ["python", "-m", *argv]
    script = next((word for word in argv if word in GROUPS), None)
    if script:
        _parses_as_run(argv[argv.index(script) + 1 :], script, tmp_path, monkeypatch)
    elif argv[0] == "bertlab":
        _is_a_subcommand(argv[1], argv[2:], tmp_path, monkeypatch)
    elif argv[:3] == ["python", "-m", "bertlab"]:
        _is_a_subcommand(argv[3], argv[4:], tmp_path, monkeypatch)
    elif argv[:2] == ["python", "-c"]:
        ast.parse(argv[2])
    elif argv[:2] == ["python", "-m"]:
        assert argv[2] == "pytest" or (ROOT / f"{argv[2].replace('.', '/')}.py").is_file()
    elif argv[0] == "python":
        assert (ROOT / argv[1]).is_file()
    elif argv[0] == "pip":
        assert all((ROOT / file).is_file() for flag, file in itertools.pairwise(argv) if flag == "-r")
    else:
        assert argv[0] in (*SHELL, ".", "wc"), f"{path.name}: nobody checks {' '.join(argv)}"


def _parses_as_run(argv: list[str], script: str, tmp_path: Path, monkeypatch) -> None:
    # The reader's own recipe need not exist here; the shipped ones must.
    for own in (word for word in argv if word.endswith(".yaml") and not word.startswith("configs/")):
        (tmp_path / own).write_text("learning_rate: 2e-5\n", encoding="utf-8")
        monkeypatch.chdir(tmp_path)
    default = "nsp/meditations" if script == "run_nsp.py" else None
    arguments = parser.parse(argv, GROUPS[script], "usage", default)
    assert arguments.training["do_train"] is not None
    scratch = script == "run_nsp.py" and arguments[NspArguments].from_scratch
    own_recipe = any(word.endswith(".yaml") and not word.startswith("configs/") for word in argv)
    assert arguments[ModelArguments].model_name_or_path or scratch or own_recipe, "no model is named"


def _is_a_subcommand(name: str, argv: list[str], tmp_path: Path, monkeypatch) -> None:
    assert name in COMMANDS
    if name in ("train", "nsp"):
        _parses_as_run(argv, f"{COMMANDS[name][0]}.py", tmp_path, monkeypatch)
    if name == "predict":
        assert parser.parse_command(argv, predict_inputs.PredictArguments, "", predict_inputs.RULES).model
    elif name == "export":
        assert parser.parse_command(argv, export.ExportArguments, "").run
    elif name == "submission":
        assert parser.parse_command(argv, submission.SubmissionArguments, "").runs
    elif name == "check":
        if not any(word.endswith(".yaml") for word in argv):
            assert parser.parse(argv, check.GROUPS, check.USAGE)[ModelArguments].model_name_or_path
    elif name == "recipes":
        assert recipes.main(argv) == 0
    elif name in ("suite", "sweep"):
        _plans(name, argv, tmp_path, monkeypatch)


def _plans(name: str, argv: list[str], tmp_path: Path, monkeypatch) -> None:
    """Plan a suite or sweep in an empty folder with the reader's own files in it."""
    argv = argv[: argv.index(">")] if ">" in argv else argv
    for own in (word for word in argv if word.endswith(".yaml") and not word.startswith("configs/")):
        content = "learning_rate: [1e-5, 2e-5]\n" if name == "sweep" else "learning_rate: 2e-5\n"
        (tmp_path / own).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    argv = [str(ROOT / word) if word.startswith("configs/") else word for word in argv]
    if name == "suite":
        assert suite.plan(*parser.parse_known(argv, suite.SuiteArguments, ""))
    else:
        pytest.importorskip("optuna") if "tpe" in argv else None
        assert sweep.plan(*parser.parse_known(argv, sweep.SweepArguments, "")).space


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    for link in LINK.finditer(path.read_text(encoding="utf-8")):
        target = (path.parent / link["file"]).resolve() if link["file"] else path
        assert target.exists(), link[0]
        assert not link["anchor"] or link["anchor"] in anchors(target), link[0]
        # The site has docs/ alone, so a page names other files in `code`.
        docs = ROOT / "docs"
        assert target.is_relative_to(docs) or not path.is_relative_to(docs), f"{link[0]} leads out of the site"


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub, and the site after it, gives the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_site_and_its_first_page_name_every_page():
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    contents = set(re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    first = {link["file"] for link in LINK.finditer((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    assert contents == pages
    assert pages - first == {"index.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_is_named_exists(path):
    named = re.findall(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`", path.read_text(encoding="utf-8"))
    file = ""
    for own, test in named:
        file = own or file  # a test alone is in the file named before it
        assert not (own or test) or f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), (file, test)


@pytest.mark.parametrize("path", ledger.documents(), ids=lambda path: path.name)
def test_tables_are_those_of_the_records(path):
    text = path.read_text(encoding="utf-8")
    assert ledger.with_tables(text) == text, "run `make tables`"


def test_the_figures_of_the_readme_are_those_of_the_files():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    measured = json.loads((ROOT / "benchmarks/results/training_base.json").read_text(encoding="utf-8"))
    said = {
        "training": "trains {} times as fast as with Hugging Face's example scripts and their defaults, {} times as "
        "fast as with bf16 and dynamic padding, and {} times as fast as with their best flags",
        "evaluation": "evaluated {}, {} and {} times as fast",
    }
    for stage, phrase in said.items():
        ratios = measured[stage]["ratios"]
        shown = [f"{ratios[f'example scripts, {peer}']['median']:.3g}" for peer in ("defaults", "bf16", "best flags")]
        assert phrase.format(*shown) in text
    rows = json.loads((ROOT / "results/learning/demo.json").read_text(encoding="utf-8"))
    whole = {
        row["split"]: row
        for row in rows
        if row["recipe"].endswith("/trainall") and row["metric"] == "matthews_correlation"
    }
    inside, outside = (whole[split] for split in ("in_domain_dev", "out_of_domain_dev"))
    record = json.loads(next((ROOT / "results/demo/cola").rglob("seed42.json")).read_text(encoding="utf-8"))
    linear = record["splits"]["in_domain_dev"]["baselines"]["tfidf"]["matthews_correlation"]
    assert f"correlation of about {inside['mean']:.2f} ([± {inside['sd']:.2f}](docs/suite.md) over seeds" in text
    assert f"{linear:.2f} for TF-IDF" in text
    assert f"{outside['mean']:.2f} on unseen kinds" in text


def test_the_kills_of_the_page_of_faults_are_those_recorded():
    told = json.loads((ROOT / "benchmarks/results/torture.json").read_text(encoding="utf-8"))
    text = " ".join((ROOT / "docs/dev/faults.md").read_text(encoding="utf-8").split())
    phases = ", ".join(f"{kills} while {phase}" for phase, kills in told["by_phase"].items())
    runs = sum(run["finished"] for run in told["runs"].values())
    assert f"`{told['command']}`" in text
    assert f"{told['kills']} kills in {len(told['runs'])} kinds of run" in text
    nsp = sum(kill["script"] == "run_nsp.py" for kill in told["each"])
    two = sum(kill["processes"] == 2 for kill in told["each"])
    assert f"{nsp} of them with `run_nsp.py` and {two} on two processes: " in text
    assert f"{phases}. {told['half_written']} left a half-written checkpoint." in text
    assert f"All {runs} runs were bit-identical" in text
    assert not any(run["different"] for run in told["runs"].values())


def test_the_demo_corpora_are_as_their_readmes_say():
    import subprocess
    import sys

    script = ROOT / "data" / "cola_demo" / "generate.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0
    lines = (ROOT / "data" / "nsp_demo" / "notebook.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 120
    assert all(line.strip() for line in lines)


def test_the_metrics_that_are_named_are_those_there_are():
    text = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
    named = text.split("| task | metrics |")[1].split("\n\n")[0]
    with_averages = {name for name in METRICS if name.endswith(("_macro", "_micro", "_weighted", "_samples"))}
    found = set(re.findall(r"`(\w+)`", named)) - {"positive_label"}
    assert found <= set(METRICS) and found - with_averages == set(METRICS) - with_averages
