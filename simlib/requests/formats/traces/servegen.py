"""ServeGen, https://github.com/alibaba/ServeGen: workloads that it generates, jobs in batch, and clients' rates.

``save_requests_to_csv`` writes a generated workload: seconds. ``data/offline`` has jobs (``trace_d`` to ``trace_f``
with both lengths and milliseconds of service), whose requests were handed over all at once, so that no time of arrival
is known. ``data/*/*/chunk-*-trace.csv`` has no requests at all: for each window of ten minutes a client's rate, the
coefficient of variation of the gaps between its requests, and a distribution fitted to them; no head.
"""

from __future__ import annotations

import numpy as np

from simlib.checks import InputError
from simlib.requests.formats.aggregates.summary import Load, Summary
from simlib.requests.formats.document import WINDOWS, Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows, numbers, refuse_first, seconds

WORKLOAD = Rows(
    "servegen", "timestamp", "input_tokens", "output_tokens", sure=False, labels={"request_id": "request_id"}
)
JOB = Rows(
    "servegen_job", "timestamp", "input_length", "output_length", may_lack_arrivals=True,
    labels={"request_id": "request_id", "log_type": "type"},
)  # fmt: skip
USUAL_WINDOW_S = 600.0
MOST = 1e12


def read_job(document: Document, asked: Asked) -> Log:
    """The lengths of a job in batch, and how long each request took."""
    if "output_length" not in document.columns:
        raise InputError(
            f"{document.source}, output_length: missing column (expected the lengths of answers too, as trace_d to "
            "trace_f of the same data have them)"
        )
    log = JOB.read(document, asked)
    given = document.column("duration")
    return log.knowing(
        {"duration": "latency, milliseconds"}, latency_s=seconds(document.source, "duration", given, 1e3)
    )


def read_rates(document: Document, asked: Asked) -> Summary:
    """The rate over all windows and clients, and how it is spread over both."""
    source, columns = document.source, dict.fromkeys(document.columns, "")
    values = {}
    for name in ("window_start_s", "rate_req_per_s", "iat_cv"):
        given = document.column(name)
        values[name] = numbers(given)
        good = (values[name] >= 0) & (values[name] <= MOST)
        refuse_first(source, name, given, ~good, f"expected a number from 0 to {MOST:g}")
    starts, at = np.unique(values["window_start_s"], return_inverse=True)
    window_s = float(np.diff(starts).min()) if len(starts) > 1 else USUAL_WINDOW_S
    span_s = float(starts[-1] - starts[0]) + window_s
    rates = np.bincount(at, weights=values["rate_req_per_s"])
    requests = float(rates.sum()) * window_s
    clients = len(set(document.column("client"))) if "client" in columns else 1
    state = {
        "clients": float(clients),
        "seconds a window": window_s,
        "requests a second, busiest window": float(rates.max()),
    }
    if requests > 0:
        weights = values["rate_req_per_s"]
        state["cv of a client's gaps, mean by rate"] = float(np.average(values["iat_cv"], weights=weights))
    load = Load(requests=round(requests), span_s=span_s, rate_rps=requests / span_s, state=state)
    columns |= {
        "client": "client", "window_start_s": "start of a window, seconds", "rate_req_per_s": "requests a second",
        "iat_cv": "coefficient of variation of gaps",
    }  # fmt: skip
    return Summary(
        source, "servegen_rates", (load,), {name: columns[name] for name in document.columns if columns[name]},
        "rates of clients, and no requests (expected a row a request, as ServeGen's generate_workload makes of them",
        unused=tuple(name for name in document.columns if not columns[name]),
    )  # fmt: skip


FORMAT = Format(
    "servegen",
    "a workload that ServeGen generated",
    (("request_id", "timestamp", "input_tokens", "output_tokens"),),
    WORKLOAD.read,
)
JOB_FORMAT = Format(
    "servegen_job",
    "ServeGen's jobs in batch",
    (
        ("request_id", "type", "input_length", "output_length", "duration"),
        ("request_id", "type", "input_length", "hash_ids", "img_ids"),
    ),
    read_job,
)
RATES_FORMAT = Format("servegen_rates", "rates of ServeGen's clients", (WINDOWS[:3],), read_rates)
