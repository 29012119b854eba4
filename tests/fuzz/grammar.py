"""A grammar of what users bring: files of every kind, whole and damaged, and command lines, sensible and not."""

import argparse
import gzip
import itertools
import json
import os
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st

MORE = int(os.environ.get("FUZZ", "1"))  # times the examples; `make fuzz` sets it


def examples(count: int) -> settings:
    """So many examples, always the same; with FUZZ in the environment so many times as many, always others."""
    return settings(max_examples=count * MORE, derandomize=MORE == 1, deadline=None)


class Row(NamedTuple):
    """A request as it should be read back."""

    arrival_ms: int
    prompt_tokens: int
    output_tokens: int


def _requests(gaps: list[tuple[int, int, int]]) -> list[Row]:
    now_ms, rows = 1000, []
    for gap_ms, prompt, output in gaps:
        now_ms += gap_ms
        rows.append(Row(now_ms, prompt, output))
    return rows


ROWS = st.lists(
    st.tuples(st.integers(100, 5000), st.integers(1, 3000), st.integers(1, 500)), min_size=2, max_size=9
).map(_requests)


def _table(head: str, line: Callable[[Row], str], separator: str = ",") -> Callable[[list[Row]], str]:
    def written(rows: list[Row]) -> str:
        return "".join(f"{cells.replace(',', separator)}\n" for cells in (head, *map(line, rows)))

    return written


def _lines(record: Callable[[Row], dict]) -> Callable[[list[Row]], str]:
    return lambda rows: "".join(json.dumps(record(row)) + "\n" for row in rows)


def _date(row: Row) -> str:
    minutes, ms = divmod(row.arrival_ms, 60_000)
    return f"2023-11-16 18:{minutes:02}:{ms / 1000:010.7f},{row.prompt_tokens},{row.output_tokens}"


def _result(rows: list[Row]) -> str:
    return json.dumps(
        {
            "backend": "vllm",
            "request_rate": 2.0,
            "completed": len(rows),
            "input_lens": [row.prompt_tokens for row in rows],
            "output_lens": [row.output_tokens for row in rows],
            "start_times": [353399.25 + row.arrival_ms / 1000 for row in rows],
            "ttfts": [0.05 for row in rows],
            "itls": [[0.01] * (row.output_tokens - 1) for row in rows],
            "errors": ["" for row in rows],
        }
    )


def _mooncake(row: Row, block_tokens: int = 512) -> dict:
    blocks = [f"{row.arrival_ms // 3000}/{depth}" for depth in range(-(-row.prompt_tokens // block_tokens))]
    return {"timestamp": row.arrival_ms, "input_length": row.prompt_tokens, "output_length": row.output_tokens,
            "hash_ids": blocks}  # fmt: skip


def _prefixed(row: Row) -> str:
    group = row.arrival_ms // 3000
    return f"{row.arrival_ms / 1000},{row.prompt_tokens},{row.output_tokens},{-group},{group},{row.prompt_tokens // 2}"


def _blocks(row: Row) -> dict:
    own = {"arrival_s": row.arrival_ms / 1000, "prompt_tokens": row.prompt_tokens, "output_tokens": row.output_tokens}
    return {**own, "block_ids": list(range(row.prompt_tokens // 16))}


def _bailian(row: Row) -> dict:
    own = {"chat_id": row.arrival_ms, "turn": 1, "type": "text", "timestamp": row.arrival_ms / 1000 + 0.0005}
    return {**own, "input_length": row.prompt_tokens, "output_length": row.output_tokens}


NUMBERS = itertools.count()


def _log(row: Row) -> dict:
    at_s = 1787267980.5 + row.arrival_ms / 1000
    return {
        "request_id": f"r{next(NUMBERS)}",
        "arrival_time": at_s,
        "input_toks": row.prompt_tokens,
        "output_toks": row.output_tokens,
    }


PLAIN = _table("arrival_s,prompt_tokens,output_tokens", lambda r: f"{r[0] / 1000},{r[1]},{r[2]}")
WRITERS: dict[str, Callable[[list[Row]], str]] = {
    "plain": PLAIN,
    "plain with tabs": lambda rows: PLAIN(rows).replace(",", "\t"),
    "plain as JSON": lambda rows: json.dumps(
        [{"arrival_s": r[0] / 1000, "prompt_tokens": r[1], "output_tokens": r[2]} for r in rows]
    ),
    "plain with prefixes": _table(
        "arrival_s,prompt_tokens,output_tokens,priority,prefix_group,prefix_tokens", _prefixed
    ),
    "plain with blocks": _lines(_blocks),
    "burstgpt": _table(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
        lambda r: f"{r[0] / 1000},GPT-4,{r[1]},{r[2]},{r[1] + r[2]},API log",
    ),
    "azure": _table("TIMESTAMP,ContextTokens,GeneratedTokens", _date),
    "vidur": _table("arrived_at,num_prefill_tokens,num_decode_tokens", lambda r: f"{r[0] / 1000},{r[1]},{r[2]}"),
    "mooncake": _lines(_mooncake),
    "bailian": _lines(_bailian),
    "vllm_log": _lines(_log),
    "serving_benchmark": _result,
}


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": _zstd,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "carriage returns": lambda data: data.replace(b"\n", b"\r\n"),
}

ODD = [b",", b";", b"\t", b"\n", b"-", b'"', b"9" * 40, b"nan", b"1e309", b"-1", b"null", b"{}", b"[]", b"[" * 200,
       "٣".encode(), b"1_000", b"\x00", b"\xff", b"true", b"=1+1", b"0x10", b"1:30", b"'"]  # fmt: skip
SPLICE = st.tuples(st.integers(0, 10**6), st.integers(0, 30), st.one_of(st.binary(max_size=4), st.sampled_from(ODD)))


def damaged(data: bytes, splices: list[tuple[int, int, bytes]]) -> bytes:
    """The bytes with pieces cut out and others put in."""
    content = bytearray(data)
    for where, length, instead in splices:
        at = where % (len(content) + 1)
        content[at : at + length] = instead
    return bytes(content)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of some format, nearly always damaged, maybe packed before or after."""
    data = WRITERS[draw(st.sampled_from(list(WRITERS)))](draw(ROWS)).encode()
    pack = PACKED[draw(st.sampled_from(list(PACKED)))]
    splices = draw(st.lists(SPLICE, max_size=4))
    return pack(damaged(data, splices)) if draw(st.booleans()) else damaged(pack(data), splices)


VALUES = ["0", "1", "2", "3", "-1", "0.5", "1e3", "nan", "inf", "1e309", "٣", "1_000", "", " ", "x", "None"]
VALUES += ["99999999999", "500ms", "1,2", "0.01,1e-5,1e-4,1e-8", "ttft<=0.5", "ttft_p99<=500", "latency<=1", "auto"]


def options_of(parser: argparse.ArgumentParser) -> dict[str, dict[str, argparse.Action]]:
    """Every option of every verb, as the parser itself has them."""
    (verbs,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {
        verb: {action.option_strings[-1]: action for action in own._actions if action.option_strings}
        for verb, own in verbs.items()
    }
