"""The readers under a fuzzer that coverage guides: ``python -m fuzz.guided SECONDS``, as ``make fuzz`` does.

It starts from a whole file of every format, as it is and packed; what breaks a reader is left in ``_build/fuzz``.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["simlib.requests", "simlib.reading", "simlib.checks"]):
    from simlib.requests import traces  # noqa: F401

from fuzz.grammar import PACKED, WRITERS, Row
from fuzz.test_readers import tried

ROWS = [Row(1000, 40, 7), Row(2500, 1100, 3), Row(2900, 513, 12)]


def main(seconds: str) -> None:
    """Fuzz for so long; ends with an error at the first file that is neither read nor refused."""
    kept = Path(__file__).parents[2] / "_build" / "fuzz"
    (kept / "corpus").mkdir(parents=True, exist_ok=True)
    for name, writer in WRITERS.items():
        for packing, pack in PACKED.items():
            (kept / "corpus" / f"{name}, {packing}").write_bytes(pack(writer(ROWS).encode()))
    file = Path(tempfile.mkdtemp()) / "trace"
    limits = [
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-max_len=4096",
        "-len_control=0",
        f"-artifact_prefix={kept}/",
    ]
    atheris.Setup([sys.argv[0], *limits, str(kept / "corpus")], lambda content: tried(file, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1])
