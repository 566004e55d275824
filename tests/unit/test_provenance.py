"""What run.json says of the code that made the run."""

import subprocess
from pathlib import Path

import pytest

from bertlab.report import provenance


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small repository with one commit."""
    for name in ("bertlab/train.py", "benchmarks/speed.py", "benchmarks/results/speed.json", "docs/numbers.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first", encoding="utf-8")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, timeout=60)
    return tmp_path


def test_a_clean_checkout_names_its_commit(checkout: Path) -> None:
    found = provenance.commit(checkout)
    assert len(found["commit"]) == 40
    assert found["changed"] is False


@pytest.mark.parametrize("name", ["bertlab/train.py", "benchmarks/speed.py"])
def test_changed_code_is_told(checkout: Path, name: str) -> None:
    (checkout / name).write_text("second", encoding="utf-8")
    assert provenance.commit(checkout)["changed"] is True


@pytest.mark.parametrize("name", ["benchmarks/results/speed.json", "docs/numbers.md"])
def test_what_a_benchmark_wrote_is_no_change_of_the_code(checkout: Path, name: str) -> None:
    (checkout / name).write_text("second", encoding="utf-8")
    assert provenance.commit(checkout)["changed"] is False


def test_outside_a_checkout_nothing_is_claimed(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path) == {"commit": None, "changed": None}
