"""``make kernels``: compile the kernels for the page (a minute), and write what it loads.

`book/_static/explorer/kernels.js` is committed; a test says when it is stale.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path

FILE = Path(__file__).parents[1] / "_static" / "explorer" / "kernels.js"


def written() -> dict[str, object]:
    """What the committed file holds."""
    return json.loads(FILE.read_text(encoding="utf-8").partition("=")[2].rstrip(";\n"))


def main() -> None:
    """Compile, gather, write."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder  # what was compiled for this machine is of no use
        from book.live.module import build

        module, exports = build()
    from book.live import contents

    held = {"module": base64.b64encode(module).decode(), "exports": exports, "made_from": contents.made_from()}
    held["contents"] = contents.document()
    FILE.write_text(f"const kernels = {json.dumps(held, separators=(',', ':'))};\n", encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size / 1e3:.0f} kB, of which the module {len(module) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
