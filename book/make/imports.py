"""Which of the project's modules a notebook uses, directly or through one another, read from the imports alone.

Nothing is run. An import inside a function counts; a name taken from the package itself (``simlib.simulate``) counts
for the module that defines it; where that cannot be told, every module counts.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("simlib", "book")


def modules_of(code: str, root: Path) -> set[Path]:
    """The files of the packages that code depends on.

    Parameters
    ----------
    code : str
        Python source.
    root : Path
        The folder that the packages are in.
    """
    try:
        todo = _files_of(_imported(ast.parse(code)), root)
    except SyntaxError:  # a shell line, say: it may run anything
        todo = {file for package in PACKAGES for file in (root / package).rglob("*.py")}
    found: set[Path] = set()
    while todo:
        module = todo.pop()
        found.add(module)
        if module != root / "simlib" / "__init__.py":  # it loads the others by name, on first use
            todo |= _files_of(_imported_by(module, module.stat().st_mtime_ns), root) - found
    return found


def notebook_code(path: Path) -> str:
    """A notebook's code cells as one source, line magics left out."""
    cells = json.loads(path.read_text())["cells"]
    sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    lines = "\n".join(sources).splitlines()
    return "\n".join("" if line.lstrip().startswith("%") else line for line in lines)


def _files_of(names: Iterable[str], root: Path) -> set[Path]:
    """The files behind dotted names."""
    return {file for name in names for file in _files(name.split("."), root)}


@functools.cache
def _imported_by(file: Path, changed_ns: int) -> frozenset[str]:
    return _imported(_parsed(file, changed_ns))


def _imported(tree: ast.Module) -> frozenset[str]:
    """The dotted names of the packages that one piece of code uses."""
    used: set[str] = set()
    local: dict[str, str] = {}  # what a name in the code stands for
    chains: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                for item in imported:
                    root = item.name.partition(".")[0]
                    used.add(item.name)
                    local[item.asname or root] = item.name if item.asname else root
            case ast.ImportFrom(module=str(home), names=imported):
                for item in imported:
                    used.add(f"{home}.{item.name}")
                    local[item.asname or item.name] = f"{home}.{item.name}"
            case ast.Attribute():
                chains.append(ast.unparse(node))
    for chain in chains:
        first, _, rest = chain.partition(".")
        if first in local:
            used.add(f"{local[first]}.{rest}")
    return frozenset(name for name in used if name.partition(".")[0] in PACKAGES)


def _files(name: list[str], root: Path) -> set[Path]:
    """The files behind a dotted name: the packages on the way, and the module, or those that define it."""
    place, found = root, set()
    for part in name:
        if (module := place / f"{part}.py").is_file():
            return found | {module}
        if not (place / part).is_dir():
            return found | (set(_homes(part, place)) if place == root / "simlib" else set())
        place /= part
        if (package := place / "__init__.py").is_file():
            found.add(package)
    return found


def _homes(name: str, package: Path) -> Iterable[Path]:
    """The modules that define a name, or have it."""
    files = list(package.rglob("*.py"))
    return [file for file in files if file.stem == name or name in _defined(file, file.stat().st_mtime_ns)] or files


@functools.cache
def _parsed(file: Path, changed_ns: int) -> ast.Module:
    return ast.parse(file.read_text())


@functools.cache
def _defined(file: Path, changed_ns: int) -> set[str]:
    """Names that a module defines at its top; what it imports is defined elsewhere."""
    names: set[str] = set()
    for node in _parsed(file, changed_ns).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names
