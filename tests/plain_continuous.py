"""Continuous batching token by token: the plain version of the step loop, to compare with.

No heap, no keys, no closed form: at each step every running sequence is looked at, its tokens are counted one by one.
Plain functions over arrays, so that the benchmark can compile it; a controller's twin (`plain_control`) is no part of
that.
"""

import math
from typing import NamedTuple

import numpy as np

from simlib.continuous.settings import PREFILL, ROUTING, Continuous
from simlib.latency.steps import StepLaw

FIRST, MIXED, CHUNKED = range(len(PREFILL))
SHARED, ROUND_ROBIN, LEAST_TOKENS, LEAST_REQUESTS = range(4)


class Plain(NamedTuple):
    """Times of each request, all gaps between tokens, and totals over the GPUs."""

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    gpu: np.ndarray
    gaps_s: np.ndarray
    seat_s: float
    busy_s: float
    steps: int
    decodes: int
    prefill: int
    context: int
    preemptions: int
    peak: int
    tokens_made: int


def serve(table, law: StepLaw, settings: Continuous, gpus: int = 1, gaps: bool = True, way=None, control=None) -> Plain:
    """Serve a table of which every request fits, first come, first served; `control`: a `plain_control.Controllers`."""
    n = len(table)
    none = np.zeros(n, np.int64)
    cached = none if table.cached_prompt_tokens is None else table.cached_prompt_tokens
    expected = table.output_tokens if table.predicted_output_tokens is None else table.predicted_output_tokens
    out = (np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan), np.full(n, -1))
    gaps_s = np.full(int(table.output_tokens.sum()) if gaps else 0, np.nan)
    whole = (
        min(settings.max_seqs, settings.token_budget, n),
        settings.blocks,
        settings.block_tokens,
        int(settings.watermark * (settings.blocks + 1)),
        settings.token_budget,
        PREFILL.index(settings.prefill),
        int(settings.steps_in_flight == 2),
        int(settings.reserve),
        int(settings.whole_prompt or settings.reserve),
        ROUTING.index(settings.routing if gpus > 1 else "round_robin"),
        int(settings.share_cached),
    )
    timeout_s = math.inf if settings.timeout_s is None else settings.timeout_s
    columns = (table.arrival_s, table.prompt_tokens, table.output_tokens, expected, cached)
    more = () if control is None else (control,)
    ints, floats = (way or token_by_token)(*columns, gpus, whole, timeout_s, law.params, *out, gaps_s, *more)
    return Plain(*out, gaps_s[~np.isnan(gaps_s)], *floats, *ints)


def token_by_token(
    arrival_s, prompt, output, expected, cached, gpus, whole, timeout_s, law, start_s, first_s, end_s_of, gpu_of,
    gaps_s, control=None,
):  # fmt: skip
    seats, blocks, block, watermark, budget, prefill, two, reserve, all_fits, routing, share = whole
    n = len(arrival_s)
    lent = share * (cached // block)
    now_s, pending_s = np.full(gpus, np.inf), np.zeros(gpus)
    running, count = np.zeros((gpus, seats), np.int64), np.zeros(gpus, np.int64)
    lines = gpus if routing != SHARED else 1
    line, head, tail = np.zeros((lines, n), np.int64), np.zeros(lines, np.int64), np.zeros(lines, np.int64)
    resumed, resumes = np.zeros((gpus, seats), np.int64), np.zeros(gpus, np.int64)
    # Of each request: tokens in the cache, tokens to prefill before the next one comes, tokens made; whether it is
    # prefilled (0), decodes (1), or ends in a step that is composed (2).
    kv, target, made, stage = (
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )
    token_s, holds = np.zeros(n), np.ones(n, np.bool_)
    used = np.zeros(gpus, np.int64)
    steps = decodes_sum = prefill_sum = context_sum = preemptions = peak = tokens_made = arrived = gap_count = 0
    busy_s = seat_s = 0.0
    while True:
        g = 0
        for other in range(1, gpus):
            if now_s[other] < now_s[g]:
                g = other
        if arrived < n and arrival_s[arrived] <= now_s[g]:
            now = arrival_s[arrived]
            to = arrived % gpus
            if routing in (LEAST_TOKENS, LEAST_REQUESTS):
                load = np.zeros(gpus)
                for i in range(arrived):
                    if gpu_of[i] >= 0 and not end_s_of[i] <= now:
                        load[gpu_of[i]] += prompt[i] + expected[i] if routing == LEAST_TOKENS else 1
                to = 0
                for other in range(1, gpus):
                    if load[other] < load[to]:
                        to = other
            if routing == SHARED:
                line[0, tail[0]] = arrived
                tail[0] += 1
                for other in range(gpus):
                    if now_s[other] == np.inf:
                        now_s[other] = now
                        break
            else:
                gpu_of[arrived] = to
                line[to, tail[to]] = arrived
                tail[to] += 1
                now_s[to] = now if now_s[to] == np.inf else now_s[to]
            arrived += 1
            continue
        if now_s[g] == np.inf:
            break
        now = now_s[g]
        left = 0
        for k in range(count[g]):  # what has ended leaves
            i = running[g, k]
            if stage[i] == 2 and end_s_of[i] <= now:
                tokens = prompt[i] + max(output[i] - 1, 0) if reserve else kv[i]
                used[g] -= (tokens + block - 1) // block - lent[i] if holds[i] else 0
            else:
                running[g, left] = i
                left += 1
        count[g] = left
        cap, tokens_most = seats, budget
        if control is not None:
            waiting = tail[0 if routing == SHARED else g] > head[0 if routing == SHARED else g] or resumes[g] > 0
            decoding = 0
            for k in range(count[g]):
                i = running[g, k]
                decoding += stage[i] == 1
                waiting = waiting or (stage[i] == 0 and kv[i] < target[i])
            cap, tokens_most = control.limits(g, now, pending_s[g], decoding, count[g], used[g], waiting)
        prefill_tokens = chunks = decodes = context = longest = late = late_context = late_longest = 0
        preempted = False
        for turn in range(2):
            if (turn == 0) == (prefill == FIRST):  # prompts
                room = tokens_most - decodes
                while room > 0:
                    from_line = 0 if routing == SHARED else g
                    i = running[g, count[g] - 1] if count[g] > 0 else 0
                    begun = count[g] > 0 and stage[i] == 0 and kv[i] < target[i]
                    if not begun:
                        if preempted or count[g] >= cap:
                            break
                        while head[from_line] < tail[from_line] and resumes[g] == 0:
                            i = line[from_line, head[from_line]]
                            if now - arrival_s[i] <= timeout_s:
                                break
                            head[from_line] += 1
                            gpu_of[i] = -1
                        if resumes[g] > 0:
                            i = resumed[g, resumes[g] - 1]
                        elif head[from_line] < tail[from_line]:
                            i = line[from_line, head[from_line]]
                        else:
                            break
                        kv[i], target[i] = cached[i], prompt[i] + made[i]
                    tokens = target[i] - kv[i]
                    if tokens > room:
                        if prefill == CHUNKED:
                            tokens = room
                        elif chunks > 0 or (prefill == MIXED and decodes > 0):
                            break
                    held = (kv[i] + block - 1) // block - lent[i] if begun else 0
                    more = (kv[i] + tokens + block - 1) // block - lent[i] - held
                    if reserve:
                        more = 0 if begun else (prompt[i] + max(output[i] - 1, 0) + block - 1) // block - lent[i]
                    wanted = more
                    if not begun:
                        if all_fits and not reserve:
                            wanted = (target[i] + block - 1) // block - lent[i]
                        wanted += watermark if count[g] > 0 else 0
                    if wanted > blocks - used[g]:
                        if begun:  # the newest gives up its memory
                            used[g] -= held
                            preemptions += 1
                            count[g] -= 1
                            resumed[g, resumes[g]] = i
                            resumes[g] += 1
                        break
                    if not begun:
                        if resumes[g] > 0:
                            resumes[g] -= 1
                        else:
                            head[from_line] += 1
                            start_s[i], gpu_of[i] = now, g
                        running[g, count[g]] = i
                        count[g] += 1
                    used[g] += more
                    kv[i] += tokens
                    room -= tokens
                    if tokens == 1 and made[i] > 0 and kv[i] == target[i]:  # the last token was sampled: as a decode
                        late += 1
                        late_context += kv[i]
                        late_longest = max(late_longest, kv[i])
                    else:
                        prefill_tokens += tokens
                        chunks += 1
                    if kv[i] < target[i]:
                        break
            elif turn == 0 or chunks + late == 0:  # decodes
                while True:
                    need = decodes = 0
                    for k in range(count[g]):
                        i = running[g, k]
                        if stage[i] == 1:
                            decodes += 1
                            need += 1 if kv[i] % block == 0 and not reserve else 0
                    if need <= blocks - used[g]:
                        break
                    preempted = True
                    preemptions += 1
                    last = count[g] - 1
                    while not holds[running[g, last]]:
                        last -= 1
                    i = running[g, last]
                    tokens = prompt[i] + max(output[i] - 1, 0) if reserve else kv[i]
                    used[g] -= (tokens + block - 1) // block - lent[i]
                    if stage[i] == 2:  # its last step runs
                        holds[i] = False
                        continue
                    stage[i] = 0
                    for k in range(last, count[g] - 1):
                        running[g, k] = running[g, k + 1]
                    count[g] -= 1
                    resumed[g, resumes[g]] = i
                    resumes[g] += 1
                used[g] += need
                for k in range(count[g]):
                    i = running[g, k]
                    if stage[i] == 1:
                        kv[i] += 1
                        context += kv[i]
                        longest = max(longest, kv[i])
        if decodes + chunks + late == 0:
            now_s[g] = now + pending_s[g] if count[g] > 0 else np.inf
            seat_s += count[g] * pending_s[g]
            pending_s[g] = 0.0
            continue
        peak = max(peak, used[g])
        priced, context, longest = decodes + late, context + late_context, max(longest, late_longest)
        step_s = law[0] + law[1] * priced + law[2] * prefill_tokens + law[3] * context
        step_s += law[4] * (priced * longest - context)
        end_s = now + pending_s[g] + step_s
        for k in range(count[g]):
            i = running[g, k]
            if stage[i] == 2 or (stage[i] == 1 and decodes == 0) or (stage[i] == 0 and kv[i] < target[i]):
                continue
            if made[i] == 0:
                first_s[i] = end_s
            elif len(gaps_s) > 0:
                gaps_s[gap_count] = end_s - token_s[i]
                gap_count += 1
            tokens_made += 1 if output[i] > 0 else 0
            made[i] += 1
            token_s[i] = end_s
            stage[i] = 1
            if made[i] >= output[i]:
                stage[i], end_s_of[i] = 2, end_s
                if control is not None:
                    control.finished(g, prompt[i], output[i], end_s - start_s[i], end_s - arrival_s[i])
        if control is not None:
            control.stepped(g, step_s, decodes, prefill_tokens, chunks)
        steps += 1
        decodes_sum += priced
        prefill_sum += prefill_tokens
        context_sum += context
        busy_s += step_s
        if two:
            now_s[g], before_s = now + pending_s[g], now
            pending_s[g] = step_s
        else:
            now_s[g], before_s = end_s, now
        seat_s += count[g] * (now_s[g] - before_s)
    return (steps, decodes_sum, prefill_sum, context_sum, preemptions, peak, tokens_made), (seat_s, busy_s)
