"""Data is found where it may lie, fetched once, and never trusted without its checksum."""

import gzip
import hashlib
import http.server
import socket
import threading
import time
from contextlib import contextmanager

import pandas as pd
import pytest

from simlib import datasets
from simlib.checks import InputError

CONTENT = b"Timestamp,Request tokens,Response tokens\n" + b"".join(b"%d,10,20\n" % i for i in range(30_000))


def download(url, content=CONTENT):
    return datasets.Download(url, "burstgpt/BurstGPT_1.csv", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A user's cache of its own, and no data folder."""
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("SIMLIB_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@contextmanager
def server(content, status=200, cut=0):
    """A web server on this machine that gives `content`, `cut` bytes short of what it announces."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) - cut])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}/BurstGPT_1.csv", asked
        finally:
            web.shutdown()
            thread.join()


def files_below(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def offer(monkeypatch, url, content=CONTENT):
    monkeypatch.setitem(datasets.DOWNLOADS, "burstgpt", download(url, content))


# ---------------------------------------------------------------------------------------------------------- the sample


def test_the_sample_is_the_first_400_rows_byte_for_byte():
    content = datasets.sample().read_bytes()
    assert hashlib.sha256(content).hexdigest() == "7865fda5dac50938a84dfccb06c405e2f5202969ecfbd671c8399de00f4335f0"
    assert len(pd.read_csv(datasets.sample())) == datasets.SAMPLE_ROWS


def test_the_sample_equals_the_shared_slice(data_dir):
    assert datasets.sample().read_bytes() == (data_dir / "burstgpt" / "BurstGPT_1_head400.csv").read_bytes()


def test_the_data_page_states_what_the_sample_is():
    page = (datasets.sample().parent / "README.md").read_text()
    frame = pd.read_csv(datasets.sample())
    assert hashlib.sha256(datasets.sample().read_bytes()).hexdigest() in page
    assert f"{datasets.sample().stat().st_size:,} bytes" in page
    for count in (*frame["Model"].value_counts(), *frame["Log Type"].value_counts()):
        assert f"({count} rows)" in page
    assert f"({(frame['Response tokens'] == 0).sum()} rows)" in page


def test_a_missing_sample_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "simlib" / "datasets.py"))
    with pytest.raises(InputError, match=r"BurstGPT_sample\.csv: not found"):
        datasets.sample()


# ------------------------------------------------------------------------------------------------------------- finding


def test_the_named_folder_comes_before_the_cache(cache, tmp_path, monkeypatch):
    for folder in (cache, tmp_path / "named"):
        (folder / "azure").mkdir(parents=True)
        (folder / "azure" / "trace.csv").touch()
    assert datasets.locate("azure/trace.csv") == cache / "azure" / "trace.csv"
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path / "named"))
    assert datasets.locate("azure/trace.csv") == tmp_path / "named" / "azure" / "trace.csv"
    assert datasets.locate("azure").is_dir()


@pytest.mark.parametrize("name", ["burstgpt", "burstgpt/BurstGPT_1.csv"])
def test_what_is_missing_is_named_with_the_command_that_gets_it(cache, name):
    with pytest.raises(InputError, match=rf"^{name}: not found .*`simlib fetch burstgpt`.*SIMLIB_DATA_DIR"):
        datasets.locate(name)


def test_what_cannot_be_fetched_is_named_with_the_variable_only(cache):
    with pytest.raises(InputError, match=r"^azure/x\.csv: not found .expected SIMLIB_DATA_DIR"):
        datasets.locate("azure/x.csv")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../secret", "a/../../b", "a\0b", 3, None])
def test_a_name_outside_the_data_folder_is_refused(cache, name):
    with pytest.raises(InputError, match=r"^name: "):
        datasets.locate(name)


def test_a_variable_that_names_no_folder_is_refused(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path / "absent"))
    for look in (lambda: datasets.locate("azure"), datasets.find_full_burstgpt):
        with pytest.raises(InputError, match=r"^SIMLIB_DATA_DIR: .*absent.*expected a folder"):
            look()


def test_the_full_trace_is_found_where_its_checksum_is_right(cache, tmp_path, monkeypatch):
    offer(monkeypatch, "http://127.0.0.1:1/x")
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    assert datasets.find_full_burstgpt() is None
    for folder in (cache, tmp_path):
        (folder / "burstgpt").mkdir(parents=True)
    cached = cache / "burstgpt" / "BurstGPT_1.csv"
    cached.write_bytes(CONTENT)
    assert datasets.find_full_burstgpt() == cached
    packed = tmp_path / "burstgpt" / "BurstGPT_1.csv.gz"
    packed.write_bytes(gzip.compress(CONTENT, 1))
    assert datasets.find_full_burstgpt() == packed


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("BurstGPT_1.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:4bb\nsize 52283111\n"),
        ("BurstGPT_1.csv", CONTENT[:-1]),
        ("BurstGPT_1.csv", CONTENT[:-2] + b"9\n"),
        ("BurstGPT_1.csv.gz", gzip.compress(CONTENT, 1, mtime=0)[:-100]),
        ("BurstGPT_1.csv.gz", b"not gzip"),
    ],
)
def test_a_pointer_a_cut_copy_and_a_changed_one_are_not_the_full_trace(cache, monkeypatch, name, content):
    offer(monkeypatch, "http://127.0.0.1:1/x")
    (cache / "burstgpt").mkdir(parents=True)
    (cache / "burstgpt" / name).write_bytes(content)
    assert datasets.find_full_burstgpt() is None


# ------------------------------------------------------------------------------------------------------------ fetching


def test_a_download_with_the_right_checksum_is_kept_and_not_repeated(cache, monkeypatch):
    with server(CONTENT) as (url, asked):
        offer(monkeypatch, url)
        file = datasets.fetch("burstgpt", progress=False)
        assert file.read_bytes() == CONTENT
        assert files_below(cache) == [file]
        assert datasets.fetch("burstgpt", progress=False) == file
    assert len(asked) == 1
    assert datasets.find_full_burstgpt() == file


def test_a_cached_file_that_was_damaged_is_fetched_again(cache, monkeypatch):
    (cache / "burstgpt").mkdir(parents=True)
    (cache / "burstgpt" / "BurstGPT_1.csv").write_bytes(CONTENT[:-5])
    with server(CONTENT) as (url, _):
        offer(monkeypatch, url)
        assert datasets.fetch("burstgpt", progress=False).read_bytes() == CONTENT


def test_the_progress_goes_to_standard_error_only(cache, monkeypatch, capfd):
    with server(CONTENT) as (url, _):
        offer(monkeypatch, url)
        datasets.fetch("burstgpt")
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


@pytest.mark.parametrize(
    ("sent", "status", "cut", "why"),
    [
        (CONTENT[:-1] + b"!", 200, 0, "another SHA-256"),
        (CONTENT, 200, 1000, "not downloaded|another SHA-256"),
        (b"not here", 404, 0, "status 404"),
        (b"down", 503, 0, "status 503"),
    ],
)
def test_a_bad_download_is_one_sentence_and_leaves_nothing(cache, monkeypatch, capfd, sent, status, cut, why):
    with server(sent, status, cut) as (url, asked):
        offer(monkeypatch, url)
        with pytest.raises(InputError, match=why) as caught:
            datasets.fetch("burstgpt", progress=False)
    assert asked
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("burstgpt: ")
    assert files_below(cache) == []
    assert capfd.readouterr().err == ""


def test_offline_fetch_fails_within_seconds_with_a_sentence_and_leaves_nothing(cache, monkeypatch):
    with socket.socket() as taken:  # bound and not listening: every connection to it is refused
        taken.bind(("127.0.0.1", 0))
        offer(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}/BurstGPT_1.csv")
        began = time.monotonic()
        with pytest.raises(InputError, match=r"^burstgpt: not downloaded from 127\.0\.0\.1:\d+, no connection"):
            datasets.fetch("burstgpt", progress=False)
    assert time.monotonic() - began < 10
    assert files_below(cache) == []


def test_a_name_that_does_not_resolve_fails_with_a_sentence(cache, monkeypatch):
    offer(monkeypatch, "https://no-such-host.invalid/BurstGPT_1.csv")
    with pytest.raises(InputError, match=r"^burstgpt: not downloaded from no-such-host\.invalid"):
        datasets.fetch("burstgpt", progress=False)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path / "file")
    with pytest.raises(InputError, match=r"^burstgpt: not downloaded"):
        datasets.fetch("burstgpt", progress=False)


@pytest.mark.parametrize("name", ["burstgtp", "", None, 3])
def test_an_unknown_data_set_is_refused_with_the_known_ones(cache, name):
    with pytest.raises(InputError, match=r"^name: .*expected one of burstgpt"):
        datasets.fetch(name)


def test_the_registry_states_the_published_file():
    full = datasets.DOWNLOADS["burstgpt"]
    assert full.sha256 == "4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122"
    assert full.size_bytes == 52_283_111
    assert full.url.startswith("https://")
