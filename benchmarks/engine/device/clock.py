"""A vLLM worker whose device is a clock: a step lasts what a law says, and samples token 7.

Only the model's forward pass is replaced; scheduler, queue, HTTP and streaming run as they are. This folder is on the
server's path, ``--worker-cls clock.ClockWorker`` names the worker, and ENGINE_LAW is ``a,b,c,d`` in seconds: a step
takes a + b decodes + c prefill tokens + d context tokens of the decodes, and begins when the one before it has ended.
"""

from __future__ import annotations

import os
import time

from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_worker import CPUWorker

SAMPLED = 7


class Later(AsyncModelRunnerOutput):
    """A step's tokens, at the instant at which the device has them."""

    def __init__(self, output: ModelRunnerOutput, at_s: float) -> None:
        self.output, self.at_s = output, at_s

    def get_output(self) -> ModelRunnerOutput:
        time.sleep(max(0.0, self.at_s - time.perf_counter()))
        return self.output


class ClockWorker(CPUWorker):
    """A processor's worker without a forward pass."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.law = [float(word) for word in os.environ["ENGINE_LAW"].split(",")]
        self.known = {}  # by request: tokens of its prompt, and those sampled since
        self.free_s, self.pending = 0.0, None

    def _should_warm_up_model(self) -> bool:
        return False

    def lasts(self, out) -> tuple[float, dict[str, bool]]:
        """Seconds of a step that the scheduler sends, and who samples a token in it."""
        for name in out.finished_req_ids:
            self.known.pop(name, None)
        running = out.scheduled_cached_reqs
        computed = dict(zip(running.req_ids, running.num_computed_tokens, strict=True))
        for new in out.scheduled_new_reqs:
            self.known[new.req_id] = [len(new.prompt_token_ids), 0]
            computed[new.req_id] = new.num_computed_tokens
        decodes = prefill = context = 0
        samples = {}
        for name, count in out.num_scheduled_tokens.items():
            prompt, sampled = self.known[name]
            end = computed[name] + count
            samples[name] = end >= prompt + sampled
            if count == 1 and end > prompt:
                decodes, context = decodes + 1, context + end
            else:
                prefill += count
            self.known[name][1] += samples[name]
        a, b, c, d = self.law
        return a + b * decodes + c * prefill + d * context, samples

    def execute_model(self, scheduler_output):
        lasts_s, samples = self.lasts(scheduler_output)
        if not samples:
            return ModelRunnerOutput(req_ids=[], req_id_to_index={}, sampled_token_ids=[])
        self.free_s = max(self.free_s, time.perf_counter()) + lasts_s
        tokens = ModelRunnerOutput(
            req_ids=list(samples),
            req_id_to_index={name: place for place, name in enumerate(samples)},
            sampled_token_ids=[[SAMPLED] if each else [] for each in samples.values()],
        )
        self.pending = Later(tokens, self.free_s)
        return None

    def sample_tokens(self, grammar_output):
        out, self.pending = self.pending, None
        return out
