"""Which of the package's modules a notebook uses, directly or through one another, read from the imports alone.

Nothing is run. An import inside a function counts; a name taken from the package itself (``simlib.simulate``) counts
for the module that defines it; where that cannot be told, every module counts.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterable
from pathlib import Path

__all__ = ["modules_of", "notebook_code"]


def modules_of(code: str, package: Path) -> set[Path]:
    """The files of the package that code depends on.

    Parameters
    ----------
    code : str
        Python source.
    package : Path
        The package's folder; its name is the import name.
    """
    try:
        todo = _direct(ast.parse(code), package)
    except SyntaxError:  # a shell line, say: it may run anything
        todo = set(package.glob("*.py"))
    found: set[Path] = set()
    while todo:
        module = todo.pop()
        found.add(module)
        if module.name != "__init__.py":  # it loads the others by name, on first use
            todo |= _direct(_parsed(module, module.stat().st_mtime_ns), package) - found
    return found


def notebook_code(path: Path) -> str:
    """A notebook's code cells as one source, line magics left out."""
    cells = json.loads(path.read_text())["cells"]
    sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    lines = "\n".join(sources).splitlines()
    return "\n".join("" if line.lstrip().startswith("%") else line for line in lines)


def _direct(tree: ast.Module, package: Path) -> set[Path]:
    """The package's modules that one piece of code imports."""
    modules: set[str] = set()
    names: set[str] = set()
    aliases: set[str] = set()
    attributes: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                for item in imported:
                    root, _, module = item.name.partition(".")
                    if root == package.name:
                        modules.add(module or "__init__")
                        aliases.add(item.asname or root)
            case ast.ImportFrom(module=module, names=imported, level=level):
                root, _, rest = f"{package.name}.{module or ''}".partition(".") if level else module.partition(".")
                if root == package.name and rest:
                    modules.add(rest)
                elif root == package.name:
                    names |= {item.name for item in imported}
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                attributes.append((name, attribute))
    names |= {attribute for name, attribute in attributes if name in aliases}
    if not modules and not names:
        return set()
    files = {package / f"{module.split('.')[0]}.py" for module in modules}
    return {package / "__init__.py", *files, *(home for name in names for home in _homes(name, package))}


def _homes(name: str, package: Path) -> Iterable[Path]:
    """The module of that name, or those that define it."""
    if (module := package / f"{name}.py").is_file():
        return [module]
    files = list(package.glob("*.py"))
    return [file for file in files if name in _defined(file, file.stat().st_mtime_ns)] or files


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
