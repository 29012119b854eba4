"""A tab in which the page's simulator answers: `simulated` is what `simulator.started` gives."""

from pathlib import Path

import pytest
from browser import opened

SCRIPTS = Path(__file__).resolve().parents[2] / "book" / "_static" / "explorer"
START = """const held = engine.bytesOf(kernels.module);
const simulated = simulator.started(engine.opened(new WebAssembly.Module(held), kernels.exports), kernels.contents);
const whole = (column) => BigInt64Array.from(column, BigInt);
const tableOf = ({ arrival_s, ...lengths }) => ({ arrival_s: Float64Array.from(arrival_s),
    ...Object.fromEntries(Object.entries(lengths).map(([name, column]) => [name, whole(column)])) });
const plain = (column) => Array.from(column, Number);
const times = (column) => Array.from(column, (time) => (Number.isNaN(time) ? null : time));"""


@pytest.fixture(scope="module")
def tab(browser, tmp_path_factory):
    page = tmp_path_factory.mktemp("live") / "simulator.html"
    scripts = [(SCRIPTS / f"{name}.js").read_text() for name in ("kernels", "engine", "simulator")]
    body = "".join(f"<script>{script}</script>" for script in [*scripts, START])
    page.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulator</title>{body}')
    with opened(browser, page) as (tab, complaints):
        yield tab
        assert complaints == []
