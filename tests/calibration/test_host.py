"""What the hardware says of itself, by programs that stand in for the real ones."""

from types import SimpleNamespace

import pytest

from simlib.calibration import host


@pytest.fixture
def program(tmp_path, monkeypatch):
    def make(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_the_power_limit_is_that_of_the_device_in_use(program):
    program(
        "nvidia-smi", 'case "$*" in *--id=GPU-1234-ab*) echo "310.00 W";; *) echo "700.00 W"; echo "350.00 W";; esac'
    )
    assert host._power_limit(SimpleNamespace(uuid="1234-ab")) == "310.00 W"
    assert host._power_limit(SimpleNamespace()) == "700.00 W"  # an older torch, which knows no identifiers


def test_a_power_limit_that_nobody_tells_is_unknown(program, monkeypatch):
    program("nvidia-smi", "echo No devices were found; exit 6")
    assert host._power_limit(SimpleNamespace(uuid="1234-ab")) == "unknown"
    monkeypatch.setenv("PATH", "/nowhere")
    assert host._power_limit(SimpleNamespace(uuid="1234-ab")) == "unknown"


def test_apples_processor_is_asked_for_its_name(program, monkeypatch):
    program("sysctl", "echo 'Apple M9 Max'")
    monkeypatch.setattr(host.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(host, "Path", lambda name: SimpleNamespace(read_text=lambda encoding: ""))
    assert host._processor() == "Apple M9 Max"


def test_synchronise_and_free_reach_the_device_and_the_processor_needs_neither(monkeypatch):
    called = []
    device = SimpleNamespace(synchronize=lambda: called.append("sync"), empty_cache=lambda: called.append("free"))
    monkeypatch.setattr(host, "libraries", lambda: (SimpleNamespace(mps=device, cuda=device), None))
    for name in ("mps", "cuda", "cpu"):
        found = host.Host(name, "float16", "a device", "none", 1)
        found.synchronise()
        found.free()
    assert called == ["sync", "free"] * 2
