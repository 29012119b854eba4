"""What README and CONTRIBUTING name is there, and their first steps run; `test_answers` holds what README found."""

import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from simlib import cli

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


def test_its_commands_are_verbs_and_its_plan_is_the_books():
    text = (ROOT / "README.md").read_text().replace("\\\n", "")
    used = re.findall(r"^simlib .*", text, re.MULTILINE)
    parser = cli._parser()
    given = [parser.parse_args(shlex.split(line, comments=True)[1:]) for line in used]
    assert len(given) >= 5
    chapter = (ROOT / "notebooks" / "plan_your_deployment.ipynb").read_text()
    cells = ["".join(cell["source"]) for cell in json.loads(chapter)["cells"]]
    (command,) = (re.search(r"simlib plan [^`]*", cell)[0] for cell in cells if "```sh\nsimlib plan" in cell)
    theirs = vars(parser.parse_args(shlex.split(command.replace("\\\n", ""))[1:]))
    (ours,) = (vars(options) for options in given if "max_gpus" in options and options.rate is not None)
    assert ours == theirs | {"report": None}
    parameters: dict = {}
    exec(cells[2], parameters)
    assert ours["latency"].split(",") == parameters["PRESETS"] and ours["price"] == parameters["PRICE_PER_GPU_HOUR"]
    assert (ours["rate"], ours["sla"]) == (parameters["RATE_RPS"], parameters["SLA"])
    lengths = "LogNormal({:g}, {:g}, high={:g}), LogNormal({:g}, {:g}, high={:g})".format(
        *ours["prompt"], *ours["output"]
    )
    assert any(lengths in cell for cell in cells), lengths
