"""The committed module is of today's kernels, small, and asks for nothing but a few functions of mathematics."""

import base64
import json

from book.live import contents
from book.live.__main__ import FILE, written

ASK = "() => WebAssembly.Module.imports(new WebAssembly.Module(engine.bytesOf(kernels.module))).map(({ name }) => name)"


def test_what_is_committed_is_made_from_what_is_here():
    held, again = written(), "`make kernels` makes it again, in a minute"
    assert held["made_from"] == contents.made_from(), again
    assert held["contents"] == json.loads(json.dumps(contents.document())), again


def test_the_module_is_small_and_asks_for_mathematics_alone(tab):
    assert FILE.stat().st_size < 420_000 and len(base64.b64decode(written()["module"])) < 215_000
    asked = set(tab.evaluate(ASK)) - {"__linear_memory", "__stack_pointer"}
    assert asked <= {"exp", "expm1", "log", "log1p", "fmod", "pow"}
