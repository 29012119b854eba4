"""The HTML: prose, executed notebooks and figures copied into one tree, built by Jupyter Book, warnings as errors.

The pages ask nothing of the network: MathJax is taken from an installed package into the tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from importlib.metadata import files
from pathlib import Path

from book.make.execute import StudyError
from book.make.studies import Project

PARTS = ("book", "_config.yml", "_toc.yml", "CITATION.cff")
IGNORED = shutil.ignore_patterns("make", "__pycache__")


def sources(project: Project) -> list[Path]:
    """Every file of the prose and its configuration."""
    prose = (path for path in (project.root / "book").rglob("*") if path.is_file())
    kept = [path for path in prose if not {"make", "__pycache__"} & set(path.relative_to(project.root).parts)]
    return sorted([*kept, *(project.root / name for name in PARTS[1:])])


def build(project: Project) -> None:
    """Build all pages anew; an incremental build would keep pages that a changed template or script no longer fits.

    Raises
    ------
    StudyError
        With what Jupyter Book complained of.
    """
    _stage(project)
    for stale in (project.build / "html", project.build / ".doctrees"):
        shutil.rmtree(stale, ignore_errors=True)
    jupyter_book(project, project.build.parent, project.build / "html.log")


def jupyter_book(project: Project, output: Path, log: Path, *options: str) -> None:
    """Run Jupyter Book on the staged tree, warnings as errors.

    Raises
    ------
    StudyError
        With what it complained of.
    """
    command = [Path(sysconfig.get_path("scripts")) / "jupyter-book", "build", project.source]
    strict = ["--path-output", output, "-W", "--keep-going", "-n"]
    made = subprocess.run([*command, *strict, *options], capture_output=True, text=True, cwd=project.root)
    log.write_text(made.stdout + made.stderr)
    if made.returncode:
        complaints = [line for line in made.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
        reason = "\n".join(complaints or made.stderr.splitlines()[-20:])
        raise StudyError(f"{reason}\n(whole output: {project.seen_from_root(log)})")


def _stage(project: Project) -> None:
    source = project.source
    source.mkdir(parents=True, exist_ok=True)
    for folder in ("book", "figures", "vendor"):
        shutil.rmtree(source / folder, ignore_errors=True)
    shutil.copytree(project.root / "book", source / "book", ignore=IGNORED)
    shutil.copytree(project.figures, source / "figures")
    for name in PARTS[1:]:
        shutil.copy2(project.root / name, source)
    for file in files("sphinx-mathjax-offline") or []:
        inside = file.as_posix().partition("static/mathjax/")[2]
        if inside == "tex-chtml.js" or inside.startswith("output/chtml/fonts/"):
            target = source / "vendor" / "mathjax" / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)
