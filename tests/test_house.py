"""What must never be in the house, over every import of `simlib` and `book`: inside functions and for types, too."""

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = """checks lazy text < durations reading writing < engine datasets stats < requests < theory latency < policies
    < continuous < runs calibration < named < simulation < sweep planning levels < predicted < cli"""
FLOOR = {room: height for height, floor in enumerate(FLOORS.split("<")) for room in floor.split()}
CHECKED_BY_THEORY = {"engine", "latency", "policies", "continuous", "runs"}
MOST_MODULES, MOST_LINES = 14, 460
FILES = {
    path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__").replace("/", "."): path
    for top in ("simlib", "book")
    for path in sorted((ROOT / top).rglob("*.py"))
}


def imports(module: str):
    """Every import, and every private name taken from one: line, whether indented, name, the file that it is from."""
    known = {}
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            start = f"{'.' * node.level}{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for name, short in ((start + alias.name, alias.asname or alias.name) for alias in node.names):
                known[short] = home = name if name in FILES else name.rpartition(".")[0]
                yield node.lineno, node.col_offset > 0, name, home
        elif isinstance(node, ast.Attribute) and re.match("_(?!_|replace|fields|asdict)", node.attr):
            home = known.get(getattr(node.value, "id", None), module)
            yield node.lineno, False, f"{home}.{node.attr}", home


def broken(module: str, indented: bool, name: str, home: str) -> list[str]:
    """Which of the nevers an import breaks."""
    (top, room, mine), (to, into, theirs) = ([*dotted.split("."), "", ""][:3] for dotted in (module, name))
    inside, stranger = top == "simlib", (to, into) == ("book", "chapters") and (room, mine) != ("chapters", theirs)
    rules = {
        "climbs": inside and to == "simlib" and room != into and FLOOR.get(room, 99) <= FLOOR.get(into, 99),
        "the library calls the book": inside and to == "book",
        "draws": inside and to == "matplotlib" and module != "simlib.planning.figure",
        "leans on what it checks": (top, room, to) == ("simlib", "theory", "simlib") and into in CHECKED_BY_THEORY,
        "stands inside": indented and to == "simlib" and room != "cli",
        "is private": to in ("simlib", "book") and home != module and name.removeprefix(home).startswith("._"),
        "the kit knows a chapter": room == "kit" and stranger,
        "more than a chapter's study": stranger and home.endswith((".figures", ".tables")),
        "reads who reads all others": stranger and theirs in ("claims", "glance"),
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


def test_what_must_never_be():
    folders = Counter(path.parent.relative_to(ROOT) for path in FILES.values())
    nevers = [
        f"{path.relative_to(ROOT)}:{line} {found[1]}: {rule}"
        for module, path in FILES.items() for line, *found in imports(module) for rule in broken(module, *found)
    ]  # fmt: skip
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in FILES.values()}
    nevers += [f"{file}: {count} lines" for file, count in lines.items() if count > MOST_LINES]
    nevers += [f"{folder}: {count} modules" for folder, count in folders.items() if count > MOST_MODULES]
    assert not nevers, "\n".join(["", *nevers])


def test_no_modules_import_each_other():
    graph = {module: {home for *_, home in imports(module) if home in FILES and home != module} for module in FILES}
    circles = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
            break
        except CycleError as error:
            circle = error.args[1]
            graph[circle[1]].discard(circle[0])  # to see the next
            circles.append(" <- ".join(circle))
    assert not circles, "\n".join(["", *circles])
