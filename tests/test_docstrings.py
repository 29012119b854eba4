"""A name in back-ticks is one that exists: in the docstrings and comments of `simlib` and `book`."""

import ast
import importlib
import inspect
import io
import pkgutil
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = {
    path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__").replace("/", "."): path
    for top in ("simlib", "book")
    for path in sorted((ROOT / top).rglob("*.py"))
    if path.stem != "__main__" and "_ext" not in path.parts
}
TICKED = re.compile(r"(?<!`)`([A-Za-z_]\w*(?:\.\w+)*)`(?!`)")
TYPED = re.compile(r"^ *[\w, ]+ : .*?\b([a-z_]\w*(?:\.[A-Za-z_]\w*)+)", re.MULTILINE)  # as in queues : bins.Queues


def read(path: Path) -> tuple[set[str], set[str]]:
    """The names that docstrings and comments speak of, and the words of the code itself."""
    text = path.read_text()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    said = [token.string for token in tokens if token.type == tokenize.COMMENT]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            said.append(node.body.pop(0).value.value)
    names = {name for part in said for name in (*TICKED.findall(part), *TYPED.findall(part))}
    return names, set(re.findall(r"\w+", ast.unparse(tree)))


def things() -> dict[str, list]:
    """Modules by each end of their dotted names, and classes by theirs."""
    known: dict[str, list] = {}
    for name in FILES:
        module, parts = importlib.import_module(name), name.split(".")
        for start in range(len(parts)):
            known.setdefault(".".join(parts[start:]), []).append(module)
        for thing in vars(module).values():
            if inspect.isclass(thing) and thing.__module__ == name:
                known.setdefault(thing.__name__, []).append(thing)
    return known


def leads_on(thing, path: list[str]) -> bool:
    """Whether attributes, or the fields of a record, lead on from a thing."""
    for place, name in enumerate(path):
        if not hasattr(thing, name):
            return place == len(path) - 1 and name in getattr(thing, "__annotations__", {})
        thing = getattr(thing, name)
    return True


def exists(name: str, known: dict[str, list]) -> bool:
    parts = name.split(".")
    heads = [(known.get(".".join(parts[:end]), []), parts[end:]) for end in range(len(parts), 0, -1)]
    if any(leads_on(thing, rest) for found, rest in heads for thing in found):
        return True
    try:
        return "." in name and pkgutil.resolve_name(name) is not None  # another package's
    except (ImportError, AttributeError):
        return False


def test_every_name_in_back_ticks_leads_to_something():
    files, known = {path.relative_to(ROOT): read(path) for path in FILES.values()}, things()
    words = set().union(*(code for _, code in files.values()))  # parameters and columns need no address
    missing = [
        f"{file}: {name}"
        for file, (names, _) in files.items()
        for name in sorted(names)
        if ("." in name or name not in words) and not exists(name, known)
    ]
    assert not missing, "\n".join(["", *missing])
