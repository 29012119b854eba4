"""A results directory: whole or not there, one writer, one grid."""

import errno
import json
import os
import random

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from simlib.checks import InputError
from simlib.sweep.shards import Shards

ABOUT = {"identity": "a grid", "layout": 1, "tasks": 11}


def table(*numbers):
    return pa.table(
        {"cell": list(numbers), "error": pa.array(["odd" if n % 2 else None for n in numbers], pa.string())}
    )


def test_what_is_written_is_read_in_order_of_task(tmp_path):
    with Shards.writing(tmp_path / "out", ABOUT) as shards:
        shards.write(10, table(4, 5))
        shards.write(2, table(1, 2, 3))
    shards = Shards.open(tmp_path / "out")
    assert shards.done() == {2, 10} and shards.about == ABOUT
    assert shards.frame(["cell"])["cell"].tolist() == [1, 2, 3, 4, 5]
    assert shards.frame(where=ds.field("cell") > 3)["cell"].tolist() == [4, 5]
    assert shards.failed()["cell"].tolist() == [1, 3, 5]


def test_a_directory_that_was_begun_keeps_what_its_first_writer_said(tmp_path):
    with Shards.writing(tmp_path, ABOUT):
        pass
    with Shards.writing(tmp_path, ABOUT | {"layout": 2}) as shards:
        assert shards.about == ABOUT


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    refused = pytest.raises(InputError, match="another sweep is writing into it")
    with Shards.writing(tmp_path, ABOUT), refused, Shards.writing(tmp_path, ABOUT):
        pass
    with Shards.writing(tmp_path, ABOUT):
        pass


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_shard_that_cannot_be_written_leaves_nothing_behind(problem, tmp_path, monkeypatch):
    def fails(number):
        raise OSError(problem, "no more")

    with Shards.writing(tmp_path, ABOUT) as shards:
        shards.write(0, table(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            for task in (1, 0):
                with pytest.raises(InputError, match=rf"^{tmp_path}: cannot be written \({os.strerror(problem)}\)$"):
                    shards.write(task, table(7))
        assert shards.frame()["cell"].tolist() == [0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "shard-00000000.parquet", "sweep.lock"]


def test_what_a_killed_writer_left_is_cleared_away_and_a_users_own_is_not(tmp_path):
    (tmp_path / ".simlib-0123456789abcdef.part").write_bytes(b"PAR1 half")
    (tmp_path / "mine.part").write_text("mine")
    with Shards.writing(tmp_path, ABOUT) as shards:
        assert shards.done() == set()
    assert [path.name for path in tmp_path.glob("*.part")] == ["mine.part"]


def test_other_files_and_shards_beyond_the_grid_do_not_count(tmp_path):
    with Shards.writing(tmp_path, ABOUT) as shards:
        shards.write(3, table(1))
        whole = (tmp_path / "shard-00000003.parquet").read_bytes()
        for name in ("shard-x.parquet", "shard-00000011.parquet", "shard-3.parquet", "shard-00000004.parquet.old"):
            (tmp_path / name).write_bytes(whole)
        assert shards.done() == {3} and shards.damaged() == set()
        assert shards.frame()["cell"].tolist() == [1]


def test_every_flipped_bit_of_a_shard_is_found(tmp_path):
    with Shards.writing(tmp_path, ABOUT) as shards:
        shards.write(0, table(*range(40)))
        path = tmp_path / "shard-00000000.parquet"
        whole = path.read_bytes()
        for bit in random.Random(5).sample(range(8 * len(whole)), 60):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            assert shards.damaged() == {0}
            with pytest.raises(InputError, match=rf"^{path}: damaged"):
                shards.frame()
        path.write_bytes(whole)
        assert shards.damaged() == set() and len(shards.frame()) == 40


def test_cut_empty_and_foreign_shards_are_found(tmp_path):
    with Shards.writing(tmp_path / "other", ABOUT | {"identity": "another grid"}) as others:
        others.write(0, table(1))
    with Shards.writing(tmp_path / "out", ABOUT) as shards:
        shards.write(1, table(1))
        path = tmp_path / "out" / "shard-00000000.parquet"
        of_task_1 = (tmp_path / "out" / "shard-00000001.parquet").read_bytes()
        of_others = (tmp_path / "other" / path.name).read_bytes()
        pq.write_table(table(1), path)
        for content in (path.read_bytes(), b"", b"garbage", of_task_1[:-9], of_task_1, of_others):
            path.write_bytes(content)
            assert shards.damaged() == {0}
            with pytest.raises(InputError, match=rf"^{path}: damaged"):
                shards.read(0)
        shards.remove(0)
        assert shards.done() == {1}


def test_a_manifest_that_was_changed_is_refused(tmp_path):
    with Shards.writing(tmp_path, ABOUT):
        pass
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"tasks": 11', '"tasks": 12'))
    with pytest.raises(InputError, match=rf"^{path}: damaged"):
        Shards.open(tmp_path)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, r"an earlier version \(format 1; expected 3\)"),
        ({"format": 4}, r"a later version \(format 4; expected 3\)"),
    ],
)
def test_a_sweep_of_another_version_is_refused(written, message, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(ABOUT | written))
    refused = pytest.raises(InputError, match=f"^{tmp_path}: a sweep of {message}$")
    with refused:
        Shards.open(tmp_path)
    with refused, Shards.writing(tmp_path, ABOUT):
        pass


def test_directories_of_others_are_refused(tmp_path):
    with Shards.writing(tmp_path / "one", ABOUT):
        pass
    other = {"identity": "another"}
    with pytest.raises(InputError, match="the results of another grid"), Shards.writing(tmp_path / "one", other):
        pass
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "mine.parquet").touch()
    with pytest.raises(InputError, match="without a manifest"), Shards.writing(tmp_path / "two", ABOUT):
        pass
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="not the manifest of a sweep"):
        Shards.open(tmp_path / "three")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        Shards.open(tmp_path / "four")
    (tmp_path / "five").touch()
    for place in ("five", "no/parent"):
        with pytest.raises(InputError, match="cannot be written"), Shards.writing(tmp_path / place, ABOUT):
            pass


def test_a_directory_without_a_shard_says_so(tmp_path):
    with Shards.writing(tmp_path, ABOUT) as shards, pytest.raises(InputError, match="no task is done yet"):
        shards.frame()
