"""What lies in a file: whatever it holds, its bytes or a sentence, soon and in little memory."""

import gzip
import os
import subprocess
import sys
import threading
import time
import zlib

import pyarrow as pa
import pytest

from simlib import reading
from simlib.checks import InputError

WHAT = "a trace as CSV or JSON"
TABLE = b"a,b\n1,2\n"


def put(folder, content, name="file"):
    path = folder / name
    path.write_bytes(content)
    return path


def zstd(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


def refused(path, message):
    start_s = time.monotonic()
    with pytest.raises(InputError, match=message) as refusal:
        reading.contents(path, WHAT)
    assert time.monotonic() - start_s < 5.0
    assert "\n" not in str(refusal.value)


# Files, pipes, devices


@pytest.mark.parametrize("packed", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_a_file_is_read_packed_or_not_whatever_its_name(packed, tmp_path):
    path = put(tmp_path, packed(TABLE), "trace.txt")
    assert reading.contents(path, WHAT) == reading.contents(str(path), WHAT) == ("trace.txt", TABLE)
    assert reading.text(put(tmp_path, packed(b"\xef\xbb\xbf\xc3\xa9")), WHAT) == ("file", "é")


@pytest.mark.parametrize("packed", [gzip.compress, zstd])
def test_all_members_of_a_packed_file_are_read(packed, tmp_path):
    assert reading.contents(put(tmp_path, packed(b"a,b\n") + packed(b"1,2\n")), WHAT)[1] == TABLE


@pytest.mark.parametrize("packed", [gzip.compress, zstd])
def test_a_packed_file_that_is_cut_or_broken_is_named(packed, tmp_path):
    whole = packed(bytes(range(1, 256)) * 40)
    for content in (whole[:-5], whole[:20], whole + b"more"):
        refused(put(tmp_path, content), "^file: broken packing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file: the file is empty"),
        (b" \r\n", "file: the file is empty"),
        (gzip.compress(b"", mtime=0), "file: the file is empty"),
        (b"a,b\n1,\0\n", "file: a binary file"),
        (gzip.compress(b"a\0", mtime=0), "file: a binary file"),
        ("a,b\n".encode("utf-16"), "file: UTF-16 text"),
        (b"PAR1....", "file: a Parquet file"),
        (b"PK\x03\x04...", "file: a zip archive"),
    ],
)
def test_what_is_no_text_is_named(content, message, tmp_path):
    refused(put(tmp_path, content), f"^{message}.*expected {WHAT}")


def test_what_is_not_utf_8_is_named_by_its_line(tmp_path):
    with pytest.raises(InputError, match=r"^file, line 2: not UTF-8 text"):
        reading.text(put(tmp_path, "a\nzürich\n".encode("latin-1")), WHAT)


def test_folders_devices_and_paths_that_are_none_are_refused(tmp_path):
    refused(tmp_path, "is a folder")
    for device in ("/dev/zero", "/dev/null"):
        refused(device, f"^{device}: is a device")
    for path in (tmp_path / "absent", tmp_path / "x" / "y", tmp_path / ("x" * 300), "a\0b"):
        refused(path, "no such file|cannot be read")
    for path in (3, None, [b"x"]):
        with pytest.raises(InputError, match=r"^path: "):
            reading.contents(path, WHAT)


def test_a_pipe_is_read_to_its_end(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")

    def late():
        with open(pipe, "wb", buffering=0) as file:
            for part in (b"\x1f", gzip.compress(TABLE)[1:]):  # the first byte does not tell yet what is packed
                file.write(part)
                time.sleep(0.05)

    writer = threading.Thread(target=late)
    writer.start()
    assert reading.contents(pipe, WHAT) == (str(pipe), TABLE)
    writer.join()


def test_a_pipe_that_nobody_writes_or_whose_writer_is_silent_ends(tmp_path, monkeypatch):
    os.mkfifo(pipe := tmp_path / "pipe")
    start_s = time.monotonic()
    refused(pipe, "nobody writes into the pipe")
    assert time.monotonic() - start_s < 1.0
    monkeypatch.setattr(reading, "SILENCE_S", 0.1)
    silent = os.open(pipe, os.O_RDWR)
    refused(pipe, r"nothing came through the pipe for 0\.1 s")
    os.close(silent)


def test_a_shells_own_pipes_are_read():
    code = f"import sys; from simlib import reading; print(reading.contents(sys.argv[1], {WHAT!r}))"
    command = [sys.executable, "-c", code, "/dev/stdin"]
    done = subprocess.run(command, input=gzip.compress(TABLE), stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().strip() == str(("/dev/stdin", TABLE))


# Bounds


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_what_unpacks_to_far_more_than_it_is_is_refused_early(packing, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BOMB_BYTES", 4 << 20)
    unit = b"0.5,100,20\n" * 100_000
    if packing == "gzip":
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        content = b"".join(packer.compress(unit) for _ in range(60)) + packer.flush()
    else:
        content = zstd(unit * 60)
    refused(put(tmp_path, content), "unpack to more than 100 times as many")


def test_the_beginning_of_a_file_is_read_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 3)
    for content in (b"a,b,c", b"a,b"):
        assert reading.beginning(put(tmp_path, content)) == "a,b"
    assert reading.beginning(put(tmp_path, gzip.compress(b"a,b,c", mtime=0))) == "a,b"
    assert reading.beginning(put(tmp_path, b"")) == ""


def test_a_gzip_that_says_it_is_too_large_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_STREAMED", 1000)
    monkeypatch.setattr(reading, "_unpacked", None)
    refused(put(tmp_path, gzip.compress(b"a,b\n" * 400)), "more than 0 MB unpacked")


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = put(tmp_path, TABLE)
    os.truncate(path, 10_000_000_000)  # a file of holes
    refused(path, r"^file: 10\.0 GB \(expected at most 2 GB\)")
    os.truncate(path, 1_900_000_000)
    refused(path, "^file: a binary file")
    monkeypatch.setattr(reading, "MOST_STREAMED", 1000)
    refused(put(tmp_path, gzip.compress(b"a,b\n" * 400)), "more than 0 MB unpacked")


# JSON


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n"b": {"c": 1,\n"c": 2},\n"a": 3}', "s, line 3: 'c' twice in one object"),
        ('[{"a": "}"}, {"a": 1},\n{"a": 1, "a": 1}]', "s, line 2: 'a' twice"),
        ("[" * 900 + "]" * 900, "s, JSON: more than 100 lists or objects in one another"),
        ('{"a":' * 101 + "1" + "}" * 101, "s, JSON: more than 100"),
        ("[" * 100_000, "s, JSON: more than 100"),
        ("[" + "1" * 5000 + "]", "s, line 1: an integer of thousands of digits"),
        ('{"a": 1,\n "b"}', "s, line 2, column 5: Expecting ':' delimiter"),
        ("", "s, line 1, column 1: Expecting value"),
    ],
)
def test_json_that_says_two_things_or_none_is_named_by_its_place(text, message):
    with pytest.raises(InputError, match=f"^{message}"):
        reading.json_of(text, "s")


def test_json_is_read():
    assert reading.json_of('{"a": [1, 2.5, null, "x"], "b": {"a": true}}', "s") == {
        "a": [1, 2.5, None, "x"],
        "b": {"a": True},
    }
    assert reading.json_of("[" * 100 + "]" * 100, "s")
    assert reading.json_of("[" + "[1], " * 5000 + "[1]]", "s")[-1] == [1]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}\n{"a": 2}',
        '\n{"a": 1}\r\n\n  {"a": 2}\n\n',
        '[{"a": 1}, {"a": 2}]',
        '[\n  {"a": 1},\n  {\n    "a": 2\n  }\n]\n',
    ],
)
def test_objects_stand_in_an_array_or_one_a_line(text):
    assert reading.json_lines(text, "s") == [{"a": 1}, {"a": 2}]


def test_one_object_is_one():
    assert reading.json_lines('{\n "a":\n 1}', "s") == reading.json_lines('{"a": 1}\n', "s") == [{"a": 1}]
    # A line ends where a person ends it, not at a separator within a text.
    assert reading.json_lines('{"a": "x\u2028y"}\n{"a": 2}', "s") == [{"a": "x\u2028y"}, {"a": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{"a": \n', "s, line 3, column 7"),
        ('{"a": 1\n{"a": 2}\n{"a": 3}\n', "s, line 1, column"),  # lines, of which the first is broken
        ('{"a": 1}\n{"a": 2, "a": 3}\n', "s, line 2: 'a' twice"),
        ('{\n "a": 1,\n "b": \n}\n', "s, line 4, column 1"),  # a document, not lines
        ('[\n{"a": 1},\n{"a": 2}\n', "s, line 4, column 1"),
        ('{"a": 1}\n[2]\n', r"s, line 2: \[2\] \(expected a JSON object"),
        ("[1]", r"s, row 0: 1 \(expected a JSON object"),
        ("[]", "s: an empty array"),
    ],
)
def test_the_line_that_is_broken_is_named(text, message):
    with pytest.raises(InputError, match=f"^{message}"):
        reading.json_lines(text, "s")


# Tables


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (b"a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        (b"\r\na\tb\r\n1,5\tx y, 2\r\n", {"a": ["1.5"], "b": ["x y, 2"]}),
        (b"a;b;c\n1,911;x;-2,5\n3;1,2,3;\n", {"a": ["1.911", "3"], "b": ["x", "1,2,3"], "c": ["-2.5", ""]}),
        (b'a, b\n1, "x, y"\n2,z', {"a": ["1", "2"], "b": ["x, y", "z"]}),
        (b'a,b\n"1\n2","say ""x"""\n', {"a": ["1\n2"], "b": ['say "x"']}),
        (b"a\r012\r\r 1e3\r", {"a": ["012", " 1e3"]}),
        (b"a,b\n,NA\n", {"a": [""], "b": ["NA"]}),
    ],
)
def test_cells_are_as_they_are_spelled(data, columns):
    assert reading.delimited("s", data).to_dict("list") == columns


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b,a\n1,2,3\n", "s, a: 2 columns of that name"),
        (b"a,b\n1,2\n\n1,2,3\n", r"s, row 1: 3 cells \(expected 2"),
        (b'a,b\n"x\ny",2\n3\n', r"s, row 1: 1 cells \(expected 2"),
        (b'a,b\n1,2\n1,"2\n3,4\n5,6\n', "s, row 1: a quote that is not closed"),
        (b"a,b\n", "s: a header and no rows"),
        (b",a,\n1,2,3\n", "s, no name: 2 columns of that name"),
        (b"\n\n", "s: no header"),
        (b"a\n\xe9\n", "s, line 2: not UTF-8"),
    ],
)
def test_a_table_that_is_none_is_named_by_its_place(data, message):
    with pytest.raises(InputError, match=f"^{message}"):
        reading.delimited("s", data)


def test_a_table_may_have_no_rows_where_that_is_expected():
    assert list(reading.delimited("s", b"a,b\n", least=0)) == ["a", "b"]


def test_lines_before_the_header_that_begin_with_a_mark_are_skipped_and_said():
    with pytest.warns(UserWarning, match="^s: lines before the header that begin with # are skipped"):
        found = reading.delimited("s", b"# made by me\r\n#\na,b\n#1,2\n")
    assert found.to_dict("list") == {"a": ["#1"], "b": ["2"]}


def test_lines_are_counted_over_blank_ones():
    with pytest.raises(InputError, match=r"^s, line 6: 3 "):
        reading.json_lines('\n{"a": 1}\n \n\n {"a": 2} \n3\n', "s")
