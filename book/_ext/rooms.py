r"""The API reference's sections: ``{modules}`checks requests` `` on a line names modules; a room, all of its others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import simlib

LINE = re.compile(r"^\{modules\}`(.+)`$", re.MULTILINE)
SECTION = """### {name}

```{{eval-rst}}
.. automodule:: simlib.{name}
   :members:
```
"""


def modules() -> list[str]:
    """Every module of the library by its dotted name; rooms whose first file holds code, too."""
    root = Path(simlib.__file__).parent
    files = [path for path in root.rglob("*.py") if path.stem != "__init__" or "\ndef " in path.read_text()]
    names = (path.relative_to(root).with_suffix("").as_posix().removesuffix("/__init__") for path in files)
    return sorted(name.replace("/", ".") for name in names if not name.startswith("__"))


def sections(page: str) -> str:
    """The page with a section for each module that its lines name."""
    known, said = modules(), " ".join(LINE.findall(page)).split()

    def written(line: re.Match[str]) -> str:
        names: list[str] = []
        for name in line[1].split():
            rest = [one for one in known if one.startswith(f"{name}.") and one not in said]
            names += [name, *rest] if name in known else rest
        return "\n".join(SECTION.format(name=name) for name in names)

    return LINE.sub(written, page)


def write(app: Any, document: str, source: list[str]) -> None:
    if document == "book/api":
        source[0] = sections(source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
