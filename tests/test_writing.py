"""Results on their way out: the whole of a file or nothing, and what is no file stays what it is."""

import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from simlib import writing
from simlib.checks import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_new_or_replaced_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "r.csv"
    assert writing.write(path, "é\n") == path
    assert path.read_bytes() == "é\n".encode()
    path.chmod(0o640)
    writing.write(str(path), b"new")
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["r.csv"]


def test_a_new_file_is_as_open_as_any_other(tmp_path):
    (tmp_path / "usual").touch()
    writing.write(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_users_own_part_is_never_touched(tmp_path):
    mine = tmp_path / "r.csv.part"
    mine.write_text("mine")
    writing.write(tmp_path / "r.csv", "x")
    assert mine.read_text() == "mine"


def test_a_link_stays_one_and_its_target_is_written(tmp_path):
    (tmp_path / "sub").mkdir()
    target, link = tmp_path / "sub" / "target", tmp_path / "link"
    link.symlink_to(target)
    for content in ("new", "replaced"):  # a link may lead to what is not there yet
        writing.write(link, content)
        assert link.is_symlink() and target.read_text() == content
    assert names(tmp_path / "sub") == ["target"]


def test_a_pipe_stays_one_and_its_reader_gets_all(tmp_path, monkeypatch):
    os.mkfifo(pipe := tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    writing.write(pipe, "x" * 200_000)
    reader.join()
    assert read == [b"x" * 200_000] and stat.S_ISFIFO(pipe.stat().st_mode)
    monkeypatch.setattr(writing, "NO_READER_S", 0.05)
    with pytest.raises(InputError, match=r"pipe: a pipe that nobody reads"):
        writing.write(pipe, "x")


def test_a_device_stays_one(tmp_path):
    before = os.stat("/dev/full")
    with pytest.raises(InputError, match=r"^/dev/full: cannot be written \(No space left on device\)"):
        writing.write("/dev/full", "x")
    writing.write("/dev/null", "x")
    assert os.stat("/dev/full").st_ino == before.st_ino and stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_standard_output_is_written_where_it_stands(tmp_path):
    code = "from simlib import writing; print(1, flush=True); writing.write('/dev/stdout', '2\\n'); print(3)"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "1\n2\n3\n"


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_what_fails_leaves_nothing_and_the_old_file(fails, tmp_path, monkeypatch):
    path = tmp_path / "r.csv"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "no more")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(InputError, match=rf"^{path}: cannot be written \(No space left on device\)$"):
        writing.write(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["r.csv"]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing.opened(tmp_path / "r.csv") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def refused(message, **places):
    with pytest.raises(InputError, match=message) as refusal:
        writing.check_places(**places)
    assert "\n" not in str(refusal.value)


def test_places_are_looked_at_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    writing.check_places(files=[tmp_path / "new", tmp_path / "file", None], folders=[tmp_path / "folder", None])
    refused("no folder .*absent", files=[tmp_path / "absent" / "x"])
    refused("no folder .*file", folders=[tmp_path / "file" / "x"])
    refused(r"folder: is a folder \(expected a file\)", files=[tmp_path / "folder"])
    refused(r"file: is a file \(expected a folder\)", folders=[tmp_path / "file"])
    refused("a name of more than 255 bytes", files=[tmp_path / ("é" * 128)])
    refused("cannot be written|no folder", files=[tmp_path / ("x/" * 3000) / "x"])
    refused("Too many levels of symbolic links", files=[tmp_path / "loop"])
    refused("for two results", files=[tmp_path / "new", tmp_path / "folder" / ".." / "new"])
    writing.check_places(files=[tmp_path.__class__("/dev/null")] * 2)


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    refused(rf"x: {tmp_path} may not be written", files=[tmp_path / "x"])
    refused(rf"x: {tmp_path} may not be written", folders=[tmp_path / "x"])


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    for name in (".simlib-0011223344556677.part", "mine.part", ".simlib-notes"):
        (tmp_path / name).touch()
    writing.clear(tmp_path)
    assert names(tmp_path) == [".simlib-notes", "mine.part"]


@pytest.mark.parametrize("arguments", [["presets"], ["--help"], ["simulate", "--help"]])
def test_a_full_standard_output_ends_with_a_sentence(arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "simlib", *arguments], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == b"simlib: the result cannot be written (No space left on device)\n"


def test_a_pipe_without_a_reader_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "NO_READER_S", 0.05)
    os.mkfifo(pipe := tmp_path / "pipe")
    refused("pipe: a pipe that nobody reads", files=[pipe])


def test_a_pipe_that_was_looked_at_is_still_open_for_its_reader(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    for _ in range(2):
        writing.check_places(files=[pipe])
    reader.join(0.05)
    writing.write(pipe, "x")
    reader.join()
    assert read == [b"x"]
