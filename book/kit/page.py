"""What every notebook does first and last: check its parameters, keep its tables and figures, say what made them.

A notebook calls `begin` in its first code cell after the parameters. Its answer is written by hand in a cell tagged
``answer`` that reads the page's tables: numbers reach it by name, and `Page.holds` guards what it asserts.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import os
import platform
import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simlib import named
from simlib.checks import InputError, check_each, check_integer, check_number, check_type
from simlib.sweep.workers import keep_memory

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown
    from matplotlib.figure import Figure


GLUED = "application/papermill.record/"  # kinds of output that prose takes up, and no page shows
PACKAGES = ("numpy", "scipy", "pandas", "numba", "matplotlib")
THREADS = "STUDY_THREADS"  # variable of the environment, which `make.graph` sets
MAX_REQUESTS, MAX_REPLICATIONS = 10_000_000, 100_000


def _folder(name: str, value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise InputError(f"{name}: {value!r} (expected a folder, or nothing for a scratch folder)")
    return Path(value) if value else Path(tempfile.mkdtemp(prefix="simlib-"))


def _integers(name: str, values: Any) -> tuple[int, ...]:
    return tuple(check_each(name, values, lambda value: check_integer(name, value, 1)))


def _names(name: str, values: Any) -> tuple[str, ...]:
    return tuple(check_each(name, values, lambda value: check_type(name, value, str, "names")))


def _latency(name: str, value: Any) -> Any:
    """A latency law by its name, or as numbers or a file's name: kept as it is, so that the footer says it."""
    try:
        named.latency_of(value)
    except InputError as problem:
        raise InputError(f"{name}: {problem}") from None
    return value


# Every parameter that a notebook of this project may have, and its range.
PARAMETERS: Mapping[str, Callable[[str, Any], Any]] = {
    "LEVEL": lambda name, value: check_integer(name, value, 1, 4),
    "NUM_REQUESTS": lambda name, value: check_integer(name, value, 1, MAX_REQUESTS),
    "RATE_RPS": lambda name, value: check_number(name, value, 0.0, open_low=True),
    "RPS_SCALE": lambda name, value: check_number(name, value, 0.0, open_low=True),
    "NUM_GPUS": lambda name, value: check_integer(name, value, 1, 64),
    "BATCH_SIZE": lambda name, value: check_integer(name, value, 1, MAX_REQUESTS),
    "K_BINS": lambda name, value: check_integer(name, value, 1, 256),
    "D_SLA": lambda name, value: check_number(name, value, 0.0, open_low=True),
    "LATE_SHARE": lambda name, value: check_number(name, value, 0.0, 1.0, open_low=True, open_high=True),
    "LATENCY": lambda name, value: _latency(name, value),
    "SEED": lambda name, value: check_integer(name, value, 0, 2**31),
    "REPLICATIONS": lambda name, value: check_integer(name, value, 2, MAX_REPLICATIONS),
    "POINTS": lambda name, value: check_integer(name, value, 4, 2**16),
    "PRESETS": _names,
    "SLA": lambda name, value: check_type(name, value, str, "objectives such as ttft_p99<=1"),
    "TRACE": lambda name, value: check_type(name, value, str, "a file's name, or nothing"),
    "MAX_GPUS": lambda name, value: check_integer(name, value, 1, 1024),
    "PRICE_PER_GPU_HOUR": lambda name, value: check_number(name, value, 0.0, open_low=True),
    "MODEL": lambda name, value: check_type(name, value, str, "a model's name or folder"),
    "BATCH_SIZES": _integers,
    "PROMPT_TOKENS": _integers,
    "OUTPUT_TOKENS": _integers,
    "TRIALS": lambda name, value: check_integer(name, value, 1, MAX_REPLICATIONS),
    "THREADS": lambda name, value: check_integer(name, value, 1, 1024),
    "RESULTS_DIR": _folder,
    "FIGURES_DIR": _folder,
}


@dataclass(frozen=True, slots=True)
class Page:
    """A notebook's page: where its results go, what it was run with."""

    name: str
    parameters: Mapping[str, Any]
    started_s: float = field(default_factory=time.perf_counter)
    claims: dict[str, bool] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """The folder of the tidy tables."""
        return self.parameters["RESULTS_DIR"]

    @property
    def workers(self) -> int:
        """Threads for replications: as many as `THREADS` says where studies run side by side, else one a core."""
        return int(os.environ.get(THREADS) or os.cpu_count() or 1)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Write ``NAME.csv`` into the results folder (aside, then renamed)."""
        self.results.mkdir(parents=True, exist_ok=True)
        aside = self.results / f"{name}.csv.part"
        frame.to_csv(aside, index=False)
        aside.replace(self.results / f"{name}.csv")

    def written(self, name: str) -> pd.DataFrame:
        """The table that `table` has written, as it reads."""
        import pandas as pd

        return pd.read_csv(self.results / f"{name}.csv")

    def figure(self, name: str, figure: Figure) -> None:
        """Write ``NAME.svg`` and ``NAME.png`` into the figures folder."""
        from book.kit.style import save

        save(figure, name, self.parameters["FIGURES_DIR"])

    def glue(self, **values: Any) -> None:
        """Make numbers and texts available to the prose, by name.

        As `myst_nb.glue` does, which loads a reader and checker of notebooks first: two seconds in each of them.
        """
        from IPython.core.formatters import format_display_data
        from IPython.display import display

        for name, value in values.items():
            shown, metadata = format_display_data(value.item() if hasattr(value, "item") else value)
            kept = {f"{GLUED}{kind}": content for kind, content in shown.items()}
            display(kept, raw=True, metadata=metadata | {"scrapbook": {"name": name, "mime_prefix": GLUED}})

    def holds(self, sentence: str, *conditions: bool) -> None:
        """Guard a sentence of the prose: it is claimed while all conditions are true.

        In the book's build a sentence that is not claimed is an error. A notebook that is run with other parameters,
        or in which too few replications establish nothing, says so in its answer.

        Raises
        ------
        InputError
            If there is no condition, or one is not a truth value.
        """
        import numpy as np

        where = f"{self.name}, holds({sentence!r})"
        if not conditions:
            raise InputError(f"{where}: no condition (expected at least one comparison)")
        for condition in conditions:
            check_type(f"{where}: a condition is no truth value", condition, (bool, np.bool_), "a comparison's result")
        self.claims[sentence] = all(map(bool, conditions))

    def answer(self, text: str, **numbers: str | float) -> Markdown:
        """The page's answer, with its numbers in place of their names in braces.

        Parameters
        ----------
        text : str
            Whole sentences. The first one is guarded by `holds`, as is every other one that compares.
        **numbers : str or float
            Rounded as a person would; each is used.

        Raises
        ------
        InputError
            If the first sentence is not guarded, or a number is not used.
        """
        from IPython.display import Markdown

        where, text = f"{self.name}, answer", " ".join(text.split())
        if unused := sorted(set(numbers) - set(re.findall(r"{(\w+)", text))):
            raise InputError(f"{where}: {', '.join(unused)}: in no sentence (expected each number in one)")
        if not any(text.startswith(sentence) for sentence in self.claims):
            raise InputError(f"{where}: nothing holds its first sentence (expected page.holds({text[:40]!r}…, …))")
        shown = f"**Answer.** {text.format(**numbers)}"
        if fallen := [sentence for sentence, claimed in self.claims.items() if not claimed]:
            told = "\n".join(f"- {sentence}" for sentence in fallen)
            shown += f"\n\n**At these parameters this is not claimed** (the tables below say what was found):\n\n{told}"
        return Markdown(shown, metadata={"not_claimed": fallen})

    def footer(self, *data: Path) -> Markdown:
        """What made this page: parameters, versions, commit, data checksums, run time."""
        from IPython.display import Markdown

        shown = {k: v for k, v in self.parameters.items() if not k.endswith("_DIR")}
        lines = [
            "Parameters: " + ", ".join(f"`{name} = {value}`" for name, value in shown.items()),
            f"Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in PACKAGES),
            *([f"Commit `{commit}`"] if (commit := _commit()) else []),
            *(f"Data `{p.name}`: SHA-256 `{hashlib.sha256(p.read_bytes()).hexdigest()[:16]}…`" for p in data),
            f"Run time {time.perf_counter() - self.started_s:.1f} s",
        ]
        return Markdown("\n".join(f"- {line}" for line in lines))


def begin(name: str, namespace: dict[str, Any], known: str) -> Page:
    """Check a notebook's parameters and open its page.

    Parameters
    ----------
    name : str
        The study's name, for the footer.
    namespace : dict
        The notebook's ``globals()``; every upper-case name in it is a parameter, as is whatever papermill was given,
        and each is replaced there by its checked value.
    known : str
        The parameters that this notebook has, of `PARAMETERS`, with spaces between; the two folders go without saying.

    Raises
    ------
    InputError
        If a parameter is unknown (with the nearest name) or out of range.
    """
    names = (*known.split(), "RESULTS_DIR", "FIGURES_DIR")
    upper = [key for key in namespace if key.isupper() and not key.startswith("_")]
    for key in (*upper, *_injected(namespace)):
        if key not in names:
            near = difflib.get_close_matches(key.upper(), names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{key}: notebook {name} has no such parameter (it has {', '.join(names)}{hint})")
    checked = {key: PARAMETERS[key](key, namespace.get(key, "")) for key in names}
    namespace.update(checked)
    if "get_ipython" in namespace:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        warnings.filterwarnings("ignore", ".* its controller has collapsed")  # a study's tables say which, and when
        keep_memory()  # from 100,000 requests on, a run takes a quarter less time
        set_matplotlib_formats("svg")  # sharp at any size, and readable on a phone
    return Page(name, checked)


def _injected(namespace: Mapping[str, Any]) -> list[str]:
    """The names that papermill's cell sets, of any case: IPython keeps the source of the cells that ran."""
    cells = [source for source in namespace.get("In", ()) if source.startswith("# Parameters\n")]
    return [name.id for cell in cells for name in ast.walk(ast.parse(cell)) if isinstance(name, ast.Name)]


def _commit() -> str:
    try:
        asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return asked.stdout.strip()
