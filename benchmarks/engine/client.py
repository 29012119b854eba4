"""Send a request table to a server, each request at its instant, and write down when its tokens came.

Runs in vLLM's environment, which has aiohttp; nothing of the project is imported. ``python client.py TABLE.json
RESULT.json URL`` reads the columns ``arrival_s, prompt, output_tokens`` (a prompt is a list of token numbers), and
``priority`` where there is one, and writes what ``vllm bench serve --save-detailed`` writes of each request.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

import aiohttp

SAMPLING = {"temperature": 0.0, "ignore_eos": True, "stream": True, "model": "model"}


async def ask(session: aiohttp.ClientSession, url: str, body: dict, at_s: float) -> dict:
    """One request: when it went out, when its first token came, the gaps between the others."""
    await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
    start_s = time.perf_counter()
    times, error = [], ""
    try:
        async with session.post(url, json=body) as reply:
            if reply.status != 200:
                raise aiohttp.ClientError(f"{reply.status} {(await reply.text())[:200]}")
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    if b'"error"' in line:
                        raise aiohttp.ClientError(line.decode()[:200])
                    times.append(time.perf_counter())
    except (TimeoutError, aiohttp.ClientError, OSError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    gaps = [round(b - a, 6) for a, b in itertools.pairwise(times)]
    first_s = round(times[0] - start_s, 6) if times else 0.0
    return {"start_s": start_s, "ttft_s": first_s, "itl_s": gaps, "error": error}


async def serve(table: dict, url: str) -> dict:
    """All of the table; the result's columns."""
    rows = len(table["arrival_s"])
    bodies = [
        SAMPLING | {"prompt": table["prompt"][k], "max_tokens": table["output_tokens"][k]}
        | ({"priority": table["priority"][k]} if "priority" in table else {})
        for k in range(rows)
    ]  # fmt: skip
    connector, forever = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=forever) as session:
        begin_s = time.perf_counter() + 0.2
        each = await asyncio.gather(
            *(ask(session, url, bodies[k], begin_s + table["arrival_s"][k]) for k in range(rows))
        )
    ends = [one["start_s"] + one["ttft_s"] + sum(one["itl_s"]) for one in each]
    return {
        "date": time.strftime("%Y%m%d-%H%M%S", time.gmtime()),
        "backend": "openai",
        "duration": max(ends) - begin_s,
        "completed": sum(not one["error"] for one in each),
        "input_lens": [len(prompt) for prompt in table["prompt"]],
        "output_lens": [len(one["itl_s"]) + (one["ttft_s"] > 0) for one in each],
        "start_times": [round(one["start_s"] - begin_s, 6) for one in each],
        "ttfts": [one["ttft_s"] for one in each],
        "itls": [one["itl_s"] for one in each],
        "errors": [one["error"] for one in each],
    }


def main(table_file: str, result_file: str, url: str) -> None:
    table = json.loads(Path(table_file).read_text())
    Path(result_file).write_text(json.dumps(asyncio.run(serve(table, url)), separators=(",", ":")))


if __name__ == "__main__":
    main(*sys.argv[1:])
