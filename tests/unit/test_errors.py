"""What the command line does at its edges: errors that led to others, what is not installed, a pipe nobody reads."""

import gc
import subprocess
import sys

import pytest
from running import ROOT

from bertlab.cli.entry_point import OBJECTS_BEFORE_COLLECTION, SIGPIPE_STATUS, entry_point
from bertlab.errors import causes, did_you_mean

COMMANDS = (["run_classification.py", "--task", "cola"], ["run_nsp.py", "--help"], ["-m", "bertlab", "recipes"])


def test_causes_that_lead_in_a_circle_come_once_each():
    first, second = ValueError("first"), OSError("second")
    first.__cause__, second.__context__ = second, first
    assert list(causes(first)) == [first, second]


def test_names_with_commas_between_them_are_told_to_have_spaces():
    choices = ("query", "value", "a,b")
    assert did_you_mean("query,value", choices) == "Write query value, with spaces."
    assert did_you_mean("query,valeu", choices) == "Did you mean 'query'?"


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1])
def test_a_python_without_the_requirements_is_told_how_to_get_them(words):
    # -S leaves out the folder that packages are installed in.
    done = subprocess.run([sys.executable, "-S", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: the package 'yaml' is not installed for {sys.executable}.")
    assert "pip install -r requirements.txt" in done.stderr


def test_a_package_that_is_missed_later_is_told_of_and_a_module_of_ours_is_a_fault(capsys):
    @entry_point
    def main(name: str) -> int:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert main("evaluate.metric") == 2
    assert capsys.readouterr().err.startswith("error: the package 'evaluate' is not installed")
    with pytest.raises(ModuleNotFoundError):
        main("bertlab.nothing")


def test_a_command_looks_for_garbage_more_rarely_and_leaves_that_as_it_was():
    before = gc.get_threshold()
    during = []

    @entry_point
    def main() -> int:
        during.append(gc.get_threshold())
        return 0

    assert main() == 0
    assert during == [(OBJECTS_BEFORE_COLLECTION, *before[1:])]
    assert gc.get_threshold() == before


@pytest.mark.launch
@pytest.mark.parametrize("words", [["run_classification.py", "--help"], ["-m", "bertlab", "recipes"]])
def test_a_reader_that_has_gone_ends_the_output_without_a_word(words):
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
        assert process.wait() == SIGPIPE_STATUS


def test_the_broken_pipe_of_something_else_is_no_silent_end():
    @entry_point
    def main() -> int:
        raise BrokenPipeError("of a worker")

    with pytest.raises(BrokenPipeError):
        main()
