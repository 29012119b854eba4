"""Whatever stands on the command line: a result, or one sentence and code 2; no traceback, nothing half-written."""

import contextlib
import io
import os
import signal
import warnings
from pathlib import Path

import pytest
from fuzz.grammar import ROWS, VALUES, WRITERS, examples, files, options_of
from hypothesis import assume, given
from hypothesis import strategies as st

from simlib import cli

LAW = "0.01,1e-5,1e-4,1e-8"
GRID = """vary: {gpus: [1, 2]}
workload: {kind: synthetic, requests: 20, arrivals: {kind: poisson, rate_rps: 5}, prompt: {kind: fixed, value: 100},
           output: {kind: fixed, value: 20}}
policy: static_fifo
"""
# Each verb on something small; the options that are drawn come behind, and the last one counts.
SMALL = {
    "simulate": ["requests", "--policy", "static_fifo"],
    "inspect": ["requests"],
    "plan": ["--rate", "1", "--prompt", "50,0.1", "--output", "20,0.1", "--steps", LAW, "--kv-tokens", "100000",
             "--sla", "ttft_p99<=2", "--requests", "100", "--max-gpus", "1"],
    "capacity": ["--requests", "60", "--replications", "2", "--policies", "static_fifo"],
    "compare": ["--requests", "20", "--replications", "2", "--level", "1"],
    "calibrate": ["--from-bench", "requests"],
    "sweep": ["grid.yaml", "--out", "results", "--dry-run"],
    "validate": ["--profile", ".", "--log", "requests", "--max-num-seqs", "4", "--kv-blocks", "100",
                 "--token-budget", "512"],
    "presets": [],
}  # fmt: skip
NOT_HERE = ("--help", "--version", "--model", "--scheduler", "--workers")  # other machines, other processes, models
OPTIONS = options_of(cli._parser())
LONG = ("--replications", "--requests", "--trials")
PATHS = ("requests", "grid.yaml", "missing", "folder", "/dev/null", "results", "out.csv", "/dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    (place / "folder").mkdir()
    before = Path.cwd()
    os.chdir(place)
    yield place
    os.chdir(before)


@st.composite
def command_lines(draw: st.DrawFn, verb: str) -> list[str]:
    """Options of the verb with values that suit them, or do not."""
    given_options = []
    usable = [name for name in OPTIONS[verb] if name not in NOT_HERE]
    for name in draw(st.lists(st.sampled_from(usable), max_size=4)):
        action = OPTIONS[verb][name]
        values = action.choices or (*VALUES, *PATHS)
        value = draw(st.sampled_from(sorted(map(str, values))))
        assume(not (name in LONG and value in ("99999999999", "1e3")))
        given_options += [name] if action.nargs == 0 else [f"{name}={value}"]
    return given_options


def ended(arguments: list[str]) -> tuple[int, str]:
    """The exit code, and what stands on standard error."""

    def late(*_: object) -> None:
        raise TimeoutError(f"simlib {' '.join(arguments)}")

    out, error = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), warnings.catch_warnings():
            code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, error.getvalue()


def tried(folder: Path, content: bytes, arguments: list[str]) -> None:
    """Run one command on a file of requests and hold what must hold of every command."""
    (folder / "requests").write_bytes(content)
    (folder / "grid.yaml").write_text(GRID)
    (folder / "out.csv").unlink(missing_ok=True)
    code, said = ended(arguments)
    assert code in (0, 1, 2, 3), arguments
    assert "Traceback" not in said
    if code == 2:
        assert said.strip(), arguments
        assert not (folder / "out.csv").exists(), arguments
    assert not list(folder.glob("*.part*"))


@pytest.mark.parametrize(("verb", "count"), [("simulate", 220), ("inspect", 60), ("calibrate", 60), ("sweep", 80),
                                             ("validate", 60), ("presets", 20), ("capacity", 40), ("compare", 20),
                                             ("plan", 40)])  # fmt: skip
def test_a_command_gives_a_result_or_a_sentence(folder, verb, count):
    whole = st.builds(lambda name, rows: WRITERS[name](rows).encode(), st.sampled_from(list(WRITERS)), ROWS)
    content = st.one_of(whole, files()) if verb in ("simulate", "inspect", "calibrate", "validate") else whole

    @examples(count)
    @given(content, command_lines(verb))
    def each(content, options):
        tried(folder, content, [verb, *SMALL[verb], *options])

    each()
