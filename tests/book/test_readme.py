"""What README and CONTRIBUTING name is there, and their first steps run; `test_answers` holds what README found."""

import json
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_path_that_it_names_is_there(document):
    text = (ROOT / document).read_text()
    named = re.findall(r"\]\((?!http)([^)]+)\)", text) + re.findall(r"`([a-z]+/[^`\s]*)`", text)
    named = {path for path in named if "NAME" not in path}
    assert len(named) >= 20
    assert [path for path in named if not ((ROOT / path).exists() or (ROOT / "simlib" / path).exists())] == []


def test_the_first_steps_in_python_run_as_they_stand(monkeypatch):
    monkeypatch.chdir(ROOT)
    steps = (ROOT / "README.md").read_text().partition("## First steps")[2].partition("\n## ")[0]
    namespace: dict = {}
    for block in re.findall(r"```python\n(.*?)```", steps, re.DOTALL):
        *lines, last = textwrap.dedent("   " + block).strip().splitlines()
        exec("\n".join(lines), namespace)
        assert 0.0 <= eval(last, namespace) <= 1.0


def test_the_first_steps_in_a_terminal_name_parameters_that_their_notebooks_have():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"papermill (notebooks/\w+\.ipynb) out\.ipynb(.*)", text)
    assert len(commands) == 2
    for notebook, options in commands:
        given = re.findall(r"-p (\w+)", options)
        cells = json.loads((ROOT / notebook).read_text())["cells"]
        (parameters,) = ("".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", []))
        assert given and all(re.search(rf"^{name} =", parameters, re.MULTILINE) for name in given), notebook
        assert all((ROOT / file).is_file() for file in re.findall(r"-f (\S+)", options))
