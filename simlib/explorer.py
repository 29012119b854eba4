"""Interactive controls in Jupyter: drag the deadline, the bins, the GPUs, and see who is late.

Every move simulates the level again under the chosen scheduler; the numbers shown are the run's own summary.
"""

from __future__ import annotations

import io
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from simlib.checks import check_choice, check_integer, check_number
from simlib.figures import COLORS, INK
from simlib.run import Run
from simlib.simulation import simulate
from simlib.studies import levels
from simlib.table import RequestTable

__all__ = ["Explorer", "explore"]

SHOWN = {
    "sla_violation_share": "late",
    "latency_mean_s": "mean latency (s)",
    "latency_p99_s": "99th percentile (s)",
    "throughput_rps": "throughput (requests/s)",
    "gpu_utilization": "GPU utilisation",
    "batch_size_mean": "mean batch",
}


class Explorer:
    """Sliders over one simulated run.

    Attributes
    ----------
    controls : dict of str to widget
        ``level, scheduler, d_sla, k_bins, gpus``; set a widget's value and the run follows.
    run : Run
        The run that is shown.
    summary : dict
        Its numbers.
    """

    def __init__(
        self, level: int, scheduler: str, d_sla: float, k_bins: int, gpus: int, requests: int = 1000, seed: int = 42
    ) -> None:
        levels.of(level)
        check_number("d_sla", d_sla, 0.05, 5.0)
        check_integer("k_bins", k_bins, 1, 32)
        check_integer("gpus", gpus, 1, 16)
        check_choice("scheduler", scheduler, levels.SCHEDULERS)
        self.requests, self.seed = check_integer("requests", requests, 1, 100_000), check_integer("seed", seed, 0)
        wide = {"style": {"description_width": "7em"}, "layout": {"width": "24em"}, "continuous_update": True}
        self.controls: dict[str, Any] = {
            "level": widgets.Dropdown(options=list(levels.LEVELS), value=level, description="Level"),
            "scheduler": widgets.Dropdown(options=levels.SCHEDULERS, value=scheduler, description="Scheduler"),
            "d_sla": widgets.FloatSlider(
                value=check_number("d_sla", d_sla, 0.05, 5.0),
                min=0.05,
                max=5.0,
                step=0.05,
                description="D_SLA (s)",
                **wide,
            ),
            "k_bins": widgets.IntSlider(value=k_bins, min=1, max=32, description="K_BINS", **wide),
            "gpus": widgets.IntSlider(value=gpus, min=1, max=16, description="GPUs", **wide),
        }
        self._tables: dict[int, RequestTable] = {}
        self._sentence, self._picture = widgets.HTML(), widgets.Image(format="png")
        self._picture.layout.max_width = "100%"
        for control in self.controls.values():
            control.observe(self._refresh, names="value")
        self._refresh()
        self.box = widgets.VBox([*self.controls.values(), self._sentence, self._picture])

    @property
    def settings(self) -> dict[str, Any]:
        """What the controls say."""
        return {name: control.value for name, control in self.controls.items()}

    def figure(self) -> Figure:
        """The views: latency distribution with the deadline, and batch sizes over time."""
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.2))
        color, deadline_s = COLORS[self.run.policy], self.controls["d_sla"].value
        latency_s = self.run.times.completion_s - self.run.table.arrival_s
        edges = np.linspace(0.0, max(1.5 * deadline_s, float(np.max(latency_s))), 60)
        _, _, bars = left.hist(latency_s, edges, color=color, alpha=0.45)
        for bar, edge in zip(bars, edges, strict=False):
            if edge >= deadline_s:
                bar.set_alpha(1.0)
        left.axvline(deadline_s, color=INK, lw=1.5, ls="--")
        left.set_xlabel("E2E latency (s); full colour: late")
        left.set_ylabel("Requests")
        right.plot(self.run.served.start_s, self.run.served.size, ".", color=color, ms=4)
        right.set_xlabel("Time (s)")
        right.set_ylabel("Batch size (requests)")
        right.set_ylim(bottom=0)
        return figure

    def _refresh(self, _change: Any = None) -> None:
        chosen = self.settings
        level, d_sla = chosen["level"], chosen["d_sla"]
        if level not in self._tables:
            self._tables[level] = levels.requests_of(level, self.requests, self.seed)[0]
        policy = levels.policies(chosen["k_bins"], d_sla)[chosen["scheduler"]]
        self.run: Run = simulate(self._tables[level], policy, levels.LEVELS[level].latency, chosen["gpus"], sla=d_sla)
        self.summary = self.run.summary()
        numbers = ", ".join(f"{label} <b>{self.summary[key]:.3g}</b>" for key, label in SHOWN.items())
        self._sentence.value = f'<p role="status" aria-live="polite">{numbers}</p>'
        figure = self.figure()
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=90)
        plt.close(figure)
        self._picture.value = picture.getvalue()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)


def explore(
    level: int = 1,
    scheduler: str = "multi_bin_dynamic",
    d_sla: float = 1.0,
    k_bins: int = 4,
    gpus: int = 2,
    requests: int = 1000,
    seed: int = 42,
) -> Explorer:
    """Sliders for deadline, bins and GPUs over a fidelity level.

    Parameters
    ----------
    level : {1, 2, 3, 4}
    scheduler : str
        One of `levels.SCHEDULERS`.
    d_sla : float
        Deadline in seconds, 0.05 to 5.
    k_bins, gpus : int
        1 to 32 bins, 1 to 16 GPUs.
    requests, seed : int
        Requests of the run, and the seed of the original's recipe.

    Returns
    -------
    Explorer
        Displays itself in a notebook.
    """
    return Explorer(level, scheduler, d_sla, k_bins, gpus, requests, seed)
