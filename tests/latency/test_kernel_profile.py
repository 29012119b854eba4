"""Kernel tables as they are shipped, on made ones that are linear, so that every step is known by heart."""

import gzip

import numpy as np
import pytest
from replayed import GRIDS, tiny_profile

import simlib
from simlib.latency import kernel_profile
from simlib.latency.parallel import Link, Parallel

LINK = Link(1e9, 1e-5)


def shape(decodes=0, context=0, chunk=0, kv=0):
    """A step of decodes with equal contexts beside one chunk of a prompt."""
    return np.array([decodes, decodes * context, context, chunk, chunk > 0, chunk**2, chunk * kv], float)


def microseconds(law, *shapes):
    return [1e6 * law.law(one, law.params) for one in shapes]


def expected(layers, decodes=0, context=0, chunk=0, kv=0):
    attention = 0.001 * chunk * (kv + 1) + 0.01 * decodes * (context + 1)
    return layers * (100 + 2 * (decodes + chunk) + attention) + 50 + decodes + (chunk > 0)


@pytest.mark.parametrize(
    "step",
    [
        {"chunk": 48, "kv": 256},  # a chunk of one grid, a context of the other
        {"chunk": 256, "kv": 48},
        {"chunk": 100, "kv": 700, "decodes": 20, "context": 300},
        {"chunk": 256, "kv": 48, "decodes": 32, "context": 1024},
        {"decodes": 200, "context": 1500},
        {"chunk": 2048},
    ],
)
def test_a_union_of_grids_is_as_good_as_a_grid(tmp_path, step):
    law = kernel_profile.read(tiny_profile(tmp_path / "p"), layers=3)
    # Of a table that is linear along each axis nothing is lost between its points.
    assert microseconds(law, shape(**step)) == pytest.approx([expected(3, **step)], rel=1e-9)


def test_a_hole_that_no_measured_neighbours_enclose_is_named(tmp_path):
    folder = tiny_profile(tmp_path / "p")
    lines = (folder / "attention.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{GRIDS[0][-1]},2048,")]
    (folder / "attention.csv").write_text("\n".join(kept))
    with pytest.raises(simlib.InputError, match="attention: no row for prefill_chunk 2048, kv_prefill 2048"):
        kernel_profile.read(folder, 3)


def test_files_may_be_packed_or_not_in_a_folder_or_named_one_by_one(tmp_path):
    plain, packed = tiny_profile(tmp_path / "plain"), tmp_path / "packed"
    packed.mkdir()
    for table in plain.glob("*.csv"):
        (packed / f"GPU_{table.name}.gz").write_bytes(gzip.compress(table.read_bytes()))
    ways = plain, [plain], packed, sorted(plain.glob("*.csv")), sorted(packed.glob("*.gz"))
    first, *others = (kernel_profile.read(way, 3).numbers for way in ways)
    assert all(np.array_equal(first, other) for other in others)


def test_experts_are_woken_by_the_tokens_of_a_step(tmp_path):
    folder = tiny_profile(tmp_path / "p", experts=True)
    law = kernel_profile.read(folder, 3)
    # One token wakes 2, 2,048 all 8; none a step without tokens is asked about.
    assert microseconds(law, shape(1, 256), shape(chunk=2048)) == pytest.approx(
        [expected(3, 1, 256) + 3 * (20 + 1), expected(3, chunk=2048) + 3 * (80 + 2048)], rel=1e-6
    )
    shared = kernel_profile.read(folder, 3, parallel=Parallel(engines=2, expert=True, hidden_size=10, link=LINK))
    steps = [shape(chunk=64), shape(chunk=1984)]
    gathered = 3 * (40 + 2048 + 2 * (10 + 2048 * 10 * 2 / 2 / 1e3))  # half of the experts, all tokens; two messages
    assert 1e6 * shared.together_s(steps) == pytest.approx(expected(3, chunk=1984) + gathered, rel=1e-6)


def test_all_reduces_are_two_a_layer(tmp_path):
    folder = tiny_profile(tmp_path / "p")
    alone = kernel_profile.read(folder, 3)
    cut = kernel_profile.read(folder, 3, parallel=Parallel(tensor=2, hidden_size=10, link=LINK))
    (without,), (with_them,) = microseconds(alone, shape(chunk=1000)), microseconds(cut, shape(chunk=1000))
    assert with_them - without == pytest.approx(3 * 2 * 2 * (10 + 1000 * 10 * 2 / 2 / 1e3))


def test_what_a_token_takes_beside_the_kernels_is_added_to_them(tmp_path):
    law = kernel_profile.read(tiny_profile(tmp_path / "p"), 3).with_overhead(1e-3, token_s=1e-6)
    assert microseconds(law, shape(chunk=1000)) == pytest.approx([expected(3, chunk=1000) + 1000 + 1000])


def test_a_layers_attention_may_be_several_kernels(tmp_path):
    folder = tiny_profile(tmp_path / "p")
    head, *rows = (folder / "attention.csv").read_text().splitlines()
    split = [
        f"{kernel},{','.join(row.split(',')[:-1])},{float(row.split(',')[-1]) / 2}" for row in rows for kernel in "ab"
    ]
    (folder / "attention.csv").write_text("\n".join([f"layer,{head}", *split]))
    step = {"chunk": 100, "kv": 700, "decodes": 20, "context": 300}
    assert microseconds(kernel_profile.read(folder, 3), shape(**step)) == pytest.approx([expected(3, **step)], rel=1e-9)
    (folder / "attention.csv").write_text("\n".join([f"layer,{head}", *split[:-1]]))
    with pytest.raises(simlib.InputError, match="not all kernels have all points"):
        kernel_profile.read(folder, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"moe.csv": "tokens,activated_experts,time_us\n1,2,3\n1,2,4\n"},
            "tokens 1, activated_experts 2 is there twice",
        ),
        ({"moe.csv": "tokens,activated_experts,time_us\n1,2,3\n"}, r"activated_experts \[2.0\]"),
        ({"dense.csv": "layer,tokens,time_us\ndown_proj,1,3\ndown_proj,2,3\n"}, "down_proj beside a table of experts"),
        ({"attention.csv": "prefill_chunk,time_us\n1,2\n"}, "kv_prefill: missing column"),
        ({"dense.csv": "layer,tokens,time_us\na,1,3\na,2,x\n"}, "dense.csv, row 1: expected numbers"),
    ],
)
def test_a_table_that_cannot_be_is_named(tmp_path, change, named):
    folder = tiny_profile(tmp_path / "p", experts=True)
    for name, text in change.items():
        (folder / name).write_text(text)
    with pytest.raises(simlib.InputError, match=named):
        kernel_profile.read(folder, 3)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["dense.csv", "attention.csv"], "no per_sequence.csv"),
        (["dense.csv"] * 2, "a second one"),
        (["r.csv"], "none of"),
    ],
)
def test_files_named_one_by_one_are_one_of_each(tmp_path, names, named):
    folder = tiny_profile(tmp_path / "p")
    (folder / "r.csv").write_text("a\n1\n")
    with pytest.raises(simlib.InputError, match=named):
        kernel_profile.read([folder / name for name in names], 3)
