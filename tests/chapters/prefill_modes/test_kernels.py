"""Small tables of kernels: as in the profiles, summed by hand, near the whole tables, and without disturbance."""

import pandas as pd
import pytest

from book.chapters.prefill_modes import kernels
from book.chapters.prefill_modes.kernels import DENSE, SMALL, SYSTEMS, law_of, step_s
from simlib import InputError, datasets
from simlib.latency import kernel_profile


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return kernels.kernels("nowhere")[0]


def profiles():
    try:
        return datasets.locate(kernels.FOLDER)
    except InputError:
        pytest.skip("the profiles are not there")


def test_what_is_committed_is_what_the_profiles_give(table):
    profiles()
    found, source = kernels.kernels()
    pd.testing.assert_frame_equal(found, table)
    assert "read" in source and "committed" in kernels.kernels("nowhere")[1]


def test_a_step_is_the_sum_of_its_rows(table):
    """64 decodes of 512 tokens beside a chunk of 512 behind nothing: four points of the tables, two of them summed."""
    own = table[table["system"] == DENSE].set_index("part")

    def ms(part, **shape):
        rows = own.loc[part]
        for name, value in shape.items():
            rows = rows[rows[name] == value]
        return rows["time_ms"].item()

    beside = {"cached_tokens": 0, "sequences": 64, "context_tokens": 512}
    decodes = ms("layers", tokens=64) + ms("heads", sequences=64) + ms("attention", tokens=0, **beside)
    law = law_of(table, DENSE)
    assert 1000 * step_s(law, 64, 512) == pytest.approx(decodes)
    chunk = ms("attention", tokens=512, cached_tokens=0, sequences=0)
    layers = ms("layers", tokens=576), ms("layers", tokens=512)
    heads = [ms("heads", sequences=n) for n in (1, 64, 128)]
    mixed = layers[0] + heads[1] + (heads[2] - heads[1]) / 64 + ms("attention", tokens=512, **beside)
    assert 1000 * step_s(law, 64, 512, 512) == pytest.approx(mixed)
    assert 1000 * step_s(law, 0, 0, 512) == pytest.approx(layers[1] + heads[0] + chunk)


def test_without_disturbance_attention_is_the_sum_of_its_parts_and_never_slower(table):
    law, apart = law_of(table, DENSE), law_of(table, DENSE, apart=True)
    assert step_s(apart, 64, 512) == step_s(law, 64, 512) and step_s(apart, 0, 0, 512) == step_s(law, 0, 0, 512)
    for decodes in (16, 64, 128):
        assert step_s(apart, decodes, 1024, 512) < step_s(law, decodes, 1024, 512)


@pytest.mark.parametrize("system", (SMALL, DENSE))
def test_small_tables_are_near_the_whole_ones(table, system):
    """Shapes between the points: each within 6 %, on average within 2 %."""
    own = SYSTEMS[system]
    whole = kernel_profile.read(profiles() / own.folder, own.layers, own.prefix, own.parallel)
    law, off = law_of(table, system), []
    for shape in (
        (20, 300, 0),
        (90, 700, 0),
        (0, 0, 700),
        (0, 0, 1500),
        (24, 600, 400),
        (100, 900, 1024),
        (50, 600, 50),
    ):
        off.append(step_s(law, *shape) / step_s(whole, *shape) - 1)
    assert max(map(abs, off)) < 0.06 and abs(sum(off)) / len(off) < 0.02


def test_bad_input_is_named(table):
    with pytest.raises(InputError, match="system: 'H200'"):
        law_of(table, "H200")
    with pytest.raises(InputError, match="decodes: -1"):
        step_s(law_of(table, DENSE), -1)
