"""The cells of docs/quickstart.ipynb run one after another, here on a tiny model and for two steps."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from running import ROOT, drawing

from bertlab import api
from bertlab.cli import parser
from bertlab.commands.run_specs import script_of

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
SMALL: dict[str, Any] = {"max_steps": 2, "max_train_samples": 64, "max_eval_samples": 64}
SMALL |= {"precision": "fp32", "use_cpu": True, "disable_tqdm": True}


def test_it_is_stored_without_outputs() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert len(code) > 3
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]


def test_its_links_lead_somewhere_and_what_it_shows_is_understood() -> None:
    text = "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([\w.-]+)\)", text)
    assert links
    assert not [link for link in links if not (NOTEBOOK.parent / link).is_file()]
    shown = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert shown
    for call in (node for code in shown for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        argv = list(api._words({word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}))
        assert parser.parse(argv, script_of(argv).groups, "")


@pytest.mark.slow
def test_its_cells_run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    train = api.train
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "train", lambda **flags: train(**{**flags, "model_name_or_path": tiny_model, **SMALL}))
    cells: dict[str, Any] = {}
    shown = []
    with drawing(False):
        for cell in (cell for cell in CELLS if cell["cell_type"] == "code"):
            *rest, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(rest, []), NOTEBOOK.name, "exec"), cells)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), cells))
            else:
                exec(compile(ast.Module([last], []), NOTEBOOK.name, "exec"), cells)
    run, page, labels = shown
    assert "<table" in run._repr_html_()
    assert page == Path("runs/quickstart/report.html")
    assert len(labels) == 2
    assert set(labels["label"]) <= {"acceptable", "unacceptable"}
    assert "learning_rat" in capsys.readouterr().out.splitlines()[-1]
