"""A controller of continuous batching, one list entry a step: the plain version of `simlib.continuous.control`."""

import math
from statistics import NormalDist

import numpy as np


class Controllers:
    """One a GPU; remembers every step, and every request that ended."""

    def __init__(self, control, settings, requests, gpus):
        self.c = control
        self.seats = min(settings.max_seqs, settings.token_budget, requests)
        self.budget, self.blocks, self.block = settings.token_budget, settings.blocks, settings.block_tokens
        c = control
        self.most = self.seats if c.steers == "seats" else self.budget
        self.most = self.most if c.b_max is None else min(c.b_max, self.most)
        self.least = min(c.b_min, self.most)
        self.mem_bounds = (self.least, self.most) if c.steers == "seats" else (1, self.seats)
        start = (self.least + self.most) // 2 if c.b_start is None else min(c.b_start, self.most)
        self.steps = [[] for _ in range(gpus)]  # (seconds, size, whether it counts), of those with decodes
        self.newest = [False] * gpus
        self.requests = [[] for _ in range(gpus)]
        self.low, self.high = [float(self.least)] * gpus, [float(self.most)] * gpus
        self.b_sla = [start if c.sla else self.most] * gpus
        self.b_mem = [self.mem_bounds[1]] * gpus
        self.decided, self.due = [0] * gpus, [0] * gpus
        self.log = [[] for _ in range(gpus)]

    def stepped(self, g, step_s, decodes, prefill, chunks):
        self.newest[g] = False
        if decodes == 0:
            return
        counts = self.c.feedback != "decode" or chunks == 0
        self.newest[g] = counts
        self.steps[g].append((step_s, decodes + (prefill if self.c.steers == "budget" else 0), counts))

    def finished(self, g, *request):
        self.requests[g].append(request)

    def limits(self, g, now, pending_s, decodes, running, used, waiting):
        c = self.c
        if len(self.steps[g]) >= self.due[g]:
            self.due[g] = len(self.steps[g]) + c.interval_steps
            ended = [s[:2] for s in self.steps[g] if s[2]]
            if pending_s > 0 and self.newest[g]:
                ended = ended[:-1]
            recent = np.array(ended[-c.window_steps :], float).reshape(-1, 2)
            finished = np.array(self.requests[g][-c.window_requests :], float).reshape(-1, 4)
            tau = recent[:, 0].mean() if len(recent) else math.nan
            if c.feedback in ("service", "latency"):
                tau = finished[:, 2 if c.feedback == "service" else 3].mean() if len(finished) else math.nan
            if c.sla and len(recent) and not math.isnan(tau):
                self.sla(g, recent, tau, decodes)
            if c.memory and decodes > 0 and waiting:
                self.memory(g, finished, decodes, running, used)
            cap = min(self.b_mem[g], self.b_sla[g]) if c.steers == "seats" else self.b_mem[g]
            self.log[g].append((now, cap, self.b_mem[g], self.b_sla[g], tau))
        if c.steers == "budget":
            return self.b_mem[g], self.b_sla[g]
        return min(self.b_mem[g], self.b_sla[g]), self.budget

    def sla(self, g, recent, tau, decodes):
        c, low, high = self.c, self.low[g], self.high[g]
        size = recent[:, 1].mean()
        slow, fast = tau > c.target_s + c.epsilon_s, tau < c.target_s - c.epsilon_s
        if c.sla in ("paper", "printed"):
            if slow:
                low, high = max(low - c.delta, self.least), max(size, low + c.alpha)
            elif fast:
                low, high = min(size, high - c.alpha), min(high + c.delta, self.most)
            else:
                low, high = max(size - c.alpha // 2, self.least), min(size + c.alpha // 2, self.most)
            if c.sla == "paper":
                low, high = np.clip([low, high], self.least, self.most)
            b = math.floor((low + high) / 2)
            if c.sla == "printed":
                b = max(b, decodes)
        elif c.sla == "original":
            whole = int(size)
            if slow:
                low, high = max(low, int(0.8 * size)), min(high, whole)
            elif fast:
                low, high = max(low, whole), min(high + int(0.2 * size), self.most)
            else:
                width = max(1, int(0.1 * (high - low)))
                low, high = max(whole - width, 1), min(whole + width, self.most)
            low, high = np.clip([low, high], self.least, self.most)
            low = min(low, high)
            b = math.floor((low + high) / 2)
        elif c.sla == "aimd":
            b = self.b_sla[g]
            b = math.floor(c.backoff * b) if slow else b + c.delta if fast else b
        else:
            b = self.regression(recent, tau, size)
        self.low[g], self.high[g] = low, high
        self.b_sla[g] = int(min(max(b, self.least), self.most))

    def regression(self, recent, tau, size):
        c, n = self.c, len(recent)
        steepest = slope = tau / size
        error = 0.0
        x, y = recent[:, 1] - size, recent[:, 0] - recent[:, 0].mean()
        if n > 2 and (x != 0).any():
            fitted = (x @ y) / (x @ x)
            variance = max(0.0, y @ y - (x @ y) ** 2 / (x @ x)) / (n - 2)
            error = math.sqrt(variance / n)
            wanted = max(fitted, 0.0) + c.confidence * math.sqrt(variance / (x @ x))
            slope = min(wanted, slope) if wanted > 0 else slope
        goal = size + (c.target_s - tau - c.confidence * error) / slope
        if slope == steepest and goal > size:
            goal = max(goal, size + 1)
        elif math.sqrt((x @ x) / n) < c.exploration * goal:
            goal *= 1 - c.exploration
        goal = min(max(goal, self.least), self.most)
        return math.floor(goal + 1e-6)

    def memory(self, g, finished, decodes, running, used):
        c, least, most = self.c, *self.mem_bounds
        eta = self.blocks * self.block
        prompt, output = (finished[:, i].mean() if len(finished) else (300.0, 200.0)[i] for i in range(2))
        mean = prompt + output
        spread = NormalDist().inv_cdf(1 - c.epsilon_m)
        if c.memory in ("paper", "printed"):
            if not len(finished):
                b = self.b_mem[g]
            elif mean == 0:
                b = most
            else:
                spread *= math.sqrt(max(0.0, (finished[:, :2] ** 2).sum(axis=1).mean() - prompt**2 - output**2))
                if c.memory == "paper":
                    b = ((math.sqrt(spread**2 + 4 * mean * eta) - spread) / (2 * mean)) ** 2
                else:
                    b = self.b_mem[g] + spread * math.sqrt(self.b_mem[g]) / mean
        elif c.memory == "original":
            b = eta * (1 - c.buffer_share) / mean if mean else most
        else:
            b = self.blocks * c.memory_factor / (used / running)
        b = min(max(math.floor(b + 1e-9 * (c.memory == "printed")), least), most)
        if c.memory == "printed":
            b = min(max(b, decodes), most)
        if c.memory == "released":
            b = min(max(b, running), most)
        self.b_mem[g] = int(b)
