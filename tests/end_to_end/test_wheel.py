"""The wheel, in an empty folder far from the checkout: the command, its recipes and the demos' data."""

import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from running import ROOT, subprocess_of

pytestmark = pytest.mark.launch


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess_of([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def bertlab(site: Path, cwd: Path, *words: str) -> str:
    """Return what the installed command prints."""
    done = subprocess_of([sys.executable, "-m", "bertlab", *words], cwd=cwd, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_recipes_scripts_and_demo_data(site: Path, tmp_path: Path) -> None:
    recipes = bertlab(site, tmp_path, "recipes").splitlines()
    shipped = list((site / "bertlab/shipped/configs").rglob("*.yaml"))
    assert sorted(p.relative_to(ROOT) for p in (ROOT / "configs").rglob("*.yaml")) == sorted(
        p.relative_to(site / "bertlab/shipped") for p in shipped
    )
    assert any(line.startswith("tasks/cola ") for line in recipes)

    settings = yaml.safe_load(bertlab(site, tmp_path, "train", "--config", "demo/cola", "--print_config"))
    assert settings["data_dir"] == str(site / "bertlab/shipped/data/cola_demo")
    assert (Path(settings["data_dir"]) / "in_domain_train.tsv").is_file()
    settings = yaml.safe_load(bertlab(site, tmp_path, "nsp", "--config", "demo/nsp", "--print_config"))
    assert Path(settings["text"][0]).is_file()

    planned = bertlab(site, tmp_path, "suite", "--configs", "demo/cola", "--seeds", "1", "--print_commands")
    assert str(site / "run_classification.py") in planned


def test_the_entry_point_is_the_command(site: Path) -> None:
    lines = next(site.glob("*.dist-info/entry_points.txt")).read_text(encoding="utf-8").splitlines()
    assert lines == ["[console_scripts]", "bertlab = bertlab.__main__:main"]
