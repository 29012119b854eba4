"""Record what vLLM's own scheduler does with request tables: no model, no weights, virtual time.

Runs in an environment of its own (`requirements.txt` beside it), where vLLM is; nothing of the project is imported, and
nothing of the project imports this. ``python record.py CASES.json OUT.json.gz`` reads a list of cases as `cases.draw`
makes them, and adds to each what came out and which events occurred.

The engine's loop, in virtual time. Before a step is composed, who has come until then is taken in; who is gone leaves
then, or before the tokens of a step that has ended reach the engine, as in its own loop. A step takes a + b·decodes +
c·prefill tokens + d·context tokens of the decodes; it begins when the one before it has ended, and it is composed then,
or with two in flight when the last but one has. A chunk of one token that follows a sampled one is a decode, also where
a preempted sequence is computed again.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sys
import tempfile
from collections import Counter, deque
from pathlib import Path

import numpy as np

os.environ.update(HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")

import torch
import vllm
from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import (
    get_request_block_hasher,
    init_none_hash,
    make_block_hash_with_group_id,
)
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

STOP, SAMPLED, FIRST_TOKEN, VOCABULARY = 2, 7, 10, 60_000
MOST_TOKENS = 4096  # of a sequence
MOST_EMPTY = 10
MODEL = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "float32", "vocab_size": 65_536,
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1,
    "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": MOST_TOKENS,
}  # fmt: skip


def model() -> ModelConfig:
    """A model of which there is a configuration only."""
    folder = Path(tempfile.mkdtemp())
    (folder / "config.json").write_text(json.dumps(MODEL))
    return ModelConfig(model=str(folder), skip_tokenizer_init=True, dtype="float32", max_model_len=MOST_TOKENS)


def scheduler(case: dict, of_model: ModelConfig) -> Scheduler:
    """vLLM's scheduler with a case's settings. It keeps one block for itself."""
    words, block, blocks = case["mode"].split("_"), case["block_size"], case["num_blocks"] + 1
    cache = CacheConfig(block_size=block, enable_prefix_caching="reuse" in words or "prefix" in words)
    cache.num_gpu_blocks = blocks
    two = "async" in words
    config = VllmConfig(
        model_config=of_model,
        cache_config=cache,
        scheduler_config=SchedulerConfig(
            max_num_seqs=case["max_num_seqs"],
            max_num_batched_tokens=case["max_num_batched_tokens"],
            max_model_len=MOST_TOKENS,
            enable_chunked_prefill=True,
            is_encoder_decoder=False,
            async_scheduling=two,
            policy="priority" if "priority" in words else "fcfs",
            long_prefill_token_threshold=case.get("long_prefill_token_threshold", 0),
            watermark=case.get("watermark", 0.0),
        ),
    )
    config.scheduler_config.async_scheduling = two  # which the platform may have turned off
    layer = FullAttentionSpec(block_size=block, num_kv_heads=1, head_size=1, dtype=torch.float32)
    memory = KVCacheConfig(num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["0"], layer)])
    return (AsyncScheduler if two else Scheduler)(
        vllm_config=config,
        kv_cache_config=memory,
        structured_output_manager=StructuredOutputManager(config),
        block_size=block,
        log_stats=False,
    )


class Watch:
    """Counts what happens inside a scheduler, by listening to the calls that make it happen."""

    def __init__(self, engine: Scheduler, case: dict) -> None:
        self.engine, self.case, self.events = engine, case, Counter()
        self.manager, self.pool = engine.kv_cache_manager, engine.kv_cache_manager.block_pool
        self.evicted, self.cut_now, self.admissions = set(), 0, 0
        for owner, name in (
            (engine, "_preempt_request"), (self.manager, "allocate_slots"), (self.manager, "get_computed_blocks"),
            (self.pool, "_maybe_evict_cached_block"),
        ):  # fmt: skip
            setattr(owner, name, self._heard(name.strip("_"), getattr(owner, name)))

    def _heard(self, name, call):
        return lambda *args, **kwargs: getattr(self, name)(call, *args, **kwargs)

    def preempt_request(self, call, request, *args, **kwargs):
        self.events["preemption"] += 1
        self.cut_now += 1
        if request.num_computed_tokens < request.num_tokens - 1:
            self.events["preemption of a prompt in parts"] += 1
        if request.num_in_flight_tokens > 0:
            self.events["preemption with a step in flight"] += 1
        if any(other.admitted > request.admitted for other in self.engine.running):
            self.events["preemption of another than the newest"] += 1
        return call(request, *args, **kwargs)

    def maybe_evict_cached_block(self, call, block):
        content = block.block_hash
        gone = call(block)
        if gone and self.pool.cached_block_hash_to_block.get_one_block(content) is None:
            self.evicted.add(content)
        return gone

    def get_computed_blocks(self, call, request):
        blocks, tokens, boundary = call(request)
        place = tokens // self.case["block_size"]
        if (place + 1) * self.case["block_size"] < request.num_tokens and place < len(request.block_hashes):
            content = make_block_hash_with_group_id(request.block_hashes[place], 0)
            known = self.pool.cached_block_hash_to_block.get_one_block(content) is not None
            request.missed = content in self.evicted and not known
        return blocks, tokens, boundary

    def allocate_slots(self, call, request, tokens, **kwargs):
        waits = request.status != RequestStatus.RUNNING
        found = kwargs.get("new_computed_blocks")
        found = found.blocks[0] if waits and found is not None else ()
        shared = sum(block.ref_cnt > 0 for block in found)
        needed = -(-request.num_tokens // self.case["block_size"]) - shared
        free = self.pool.get_num_free_blocks()
        given = call(request, tokens, **kwargs)
        if not waits:
            return given
        if given is None:
            self.events["admission blocked by memory"] += 1
            self.events["admission blocked by the watermark"] += needed <= free
            return given
        self.admissions += 1
        request.admitted = self.admissions
        again = request.status == RequestStatus.PREEMPTED
        self.events["preempted sequence finds its blocks" if again else "prefix found at admission"] += len(found) > 0
        self.events["block shared by two that run"] += shared > 0
        self.events["evicted block looked for"] += getattr(request, "missed", False)
        if not again and request.num_prompt_tokens > self.case["max_num_batched_tokens"]:
            self.events["prompt above the budget"] += 1
        return given

    def scheduled(self, out) -> None:
        """Look at a step that was composed."""
        engine, counts = self.engine, out.num_scheduled_tokens
        parts = [engine.requests[name] for name in counts if engine.requests[name].is_prefill_chunk]
        total, limit = sum(counts.values()), self.case.get("long_prefill_token_threshold", 0)
        full = total == self.case["max_num_batched_tokens"]
        by_limit = sum(counts[request.request_id] == limit for request in parts)
        self.events["chunk cut by the limit of long prompts"] += by_limit
        self.events["chunk cut by the budget"] += full and len(parts) > by_limit
        self.events["two prompts in parts in one step"] += len(parts) > 1
        seats = len(engine.running) >= self.case["max_num_seqs"]
        if engine.waiting and seats and not full and self.cut_now == 0:
            self.events["admission blocked by seats"] += 1
        self.cut_now = 0


class Recording:
    """One case in the engine, in virtual time."""

    def __init__(self, case: dict, of_model: ModelConfig) -> None:
        self.case, self.engine = case, scheduler(case, of_model)
        self.watch = Watch(self.engine, case)
        self.depth = 2 if case["mode"].startswith("async") else 1
        rows, shared = len(case["prompt_tokens"]), case.get("shared_tokens")
        g = np.random.default_rng(case["seed"])
        streams = g.integers(FIRST_TOKEN, VOCABULARY, (max(case.get("group", [0])) + 1, MOST_TOKENS))
        self.prompts, self.answers = [], case["output_tokens"]
        for row in range(rows):
            prompt = g.integers(FIRST_TOKEN, VOCABULARY, case["prompt_tokens"][row])
            if shared is not None:
                prompt[: shared[row]] = streams[case["group"][row], : shared[row]]
            self.prompts.append(prompt.tolist())
        self.most = case.get("max_tokens", self.answers)
        cancels = case.get("cancel_s", [None] * rows)
        self.coming = deque(range(rows))
        self.leaving = sorted((at_s, row) for row, at_s in enumerate(cancels) if at_s is not None)
        self.sampled, self.received = [0] * rows, [0] * rows  # tokens of composed steps, and of those that have ended
        self.first, self.completion, self.gone = [None] * rows, [None] * rows, [False] * rows
        self.steps, self.flight, self.now, self.free_s = [], deque(), 0.0, 0.0
        cached = self.engine.cache_config.enable_prefix_caching
        self.hasher = get_request_block_hasher(case["block_size"], sha256) if cached else None

    def request(self, row: int) -> Request:
        stops = [STOP] if self.most[row] > self.answers[row] else []
        return Request(
            request_id=str(row),
            prompt_token_ids=self.prompts[row],
            sampling_params=SamplingParams(max_tokens=self.most[row], ignore_eos=True, stop_token_ids=stops),
            pooling_params=None,
            arrival_time=self.case["arrival_s"][row],
            priority=self.case.get("priority", [0] * (row + 1))[row],
            block_hasher=self.hasher,
        )

    def wait(self) -> None:
        """Until somebody comes, if anybody does."""
        if self.coming:
            self.now = max(self.now, self.case["arrival_s"][self.coming[0]])

    def come(self) -> None:
        """Who has come until now is in the engine's queue."""
        while self.coming and self.case["arrival_s"][self.coming[0]] <= self.now:
            self.engine.add_request(self.request(self.coming.popleft()))

    def go(self, until_s: float) -> None:
        """Who is gone before then leaves the engine, if it knows of it."""
        for at_s, row in [each for each in self.leaving if each[0] <= until_s]:
            if row in self.coming:
                continue
            self.leaving.remove((at_s, row))
            if self.completion[row] is None:
                status = self.engine.requests[str(row)].status
                kind = "running" if status == RequestStatus.RUNNING else "waiting"
                self.watch.events[f"{kind} request cancelled"] += 1
                self.gone[row] = True
                self.engine.finish_requests(str(row), RequestStatus.FINISHED_ABORTED)

    def compose(self):
        """The next step: what the engine says, who samples a token in it, and what it is made of."""
        out = self.engine.schedule()
        self.watch.scheduled(out)
        resumed = out.scheduled_cached_reqs.resumed_req_ids
        decodes = prefill = context = 0
        samples = {}
        for name, count in out.num_scheduled_tokens.items():
            row, end = int(name), self.engine.requests[name].num_computed_tokens
            known = len(self.prompts[row]) + self.sampled[row]
            samples[name] = end >= known
            if count == 1 and samples[name] and end > len(self.prompts[row]):
                decodes, context = decodes + 1, context + end
                self.watch.events["last token alone computed again"] += name in resumed
            else:
                prefill += count
            self.sampled[row] += samples[name]
        return out, samples, (decodes, prefill, context, len(samples))

    def end(self, out, samples: dict[str, bool], at_s: float) -> None:
        """A step has ended: its tokens reach the engine, and the clients that are not gone."""
        self.go(at_s)
        given = {}
        for name, is_sampled in samples.items():
            row = int(name)
            done = self.received[row] == self.answers[row]
            last = self.received[row] + 1 == self.answers[row] < self.most[row]
            self.watch.events["step wasted after a stop token"] += is_sampled and done and not self.gone[row]
            self.watch.events["step wasted after a cancellation"] += self.gone[row]
            given[name] = [STOP if last else SAMPLED] if is_sampled else []
            if not is_sampled or done or self.gone[row]:
                continue
            self.received[row] += 1
            if self.received[row] == 1:
                self.first[row] = at_s
            if self.received[row] == self.answers[row]:
                self.completion[row] = at_s
        self.tell(out, list(given), list(given.values()))

    def tell(self, out, names: list[str], tokens: list[list[int]]) -> None:
        index = {name: place for place, name in enumerate(names)}
        self.engine.update_from_output(
            out, ModelRunnerOutput(req_ids=names, req_id_to_index=index, sampled_token_ids=tokens)
        )

    def run(self) -> dict:
        """Until nobody comes any more, and nobody is there."""
        a, b, c, d = self.case["law"]
        empty = 0  # steps in a row
        while empty < MOST_EMPTY:
            self.come()
            self.go(self.now)
            busy = self.engine.get_num_unfinished_requests() > 0
            if not busy and not self.flight:
                if not self.coming:
                    break
                self.wait()
                continue
            if busy:
                out, samples, shape = self.compose()
                if samples:
                    lasts = a + b * shape[0] + c * shape[1] + d * shape[2]
                    self.free_s = max(self.free_s, self.now) + lasts
                    self.steps.append([round(lasts, 10), *shape])
                    self.flight.append((out, samples, self.free_s))
                    if len(self.flight) < self.depth:
                        continue
                else:
                    self.tell(out, [], [])
            if self.flight:
                out, samples, at_s = self.flight.popleft()
                self.now = max(self.now, at_s)
                self.end(out, samples, at_s)
                empty = 0
            else:  # whoever lost its memory to itself may be back in the next step
                self.wait()
                empty += 1
        else:
            raise RuntimeError("requests wait for ever")
        return {
            "first_s": [None if at_s is None else round(at_s, 11) for at_s in self.first],
            "completion_s": [None if at_s is None else round(at_s, 11) for at_s in self.completion],
            "steps": self.steps,
            "preemptions": self.watch.events["preemption"],
            "events": {name: int(count) for name, count in sorted(self.watch.events.items()) if count},
        }


def main(cases_file: str, out_file: str) -> None:
    init_none_hash(sha256)
    of_model, done = model(), []
    cases = json.loads(Path(cases_file).read_text())
    for number, case in enumerate(cases):
        with contextlib.redirect_stderr(None):  # vLLM says each time which features a CPU lacks
            done.append({**case, **Recording(case, of_model).run()})
        if number % 50 == 49:
            print(f"recorded {number + 1} of {len(cases)} cases", flush=True)
    with open(out_file, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        packed.write(json.dumps({"vllm": vllm.__version__, "cases": done}, separators=(",", ":")).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
