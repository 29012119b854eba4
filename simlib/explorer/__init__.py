"""Drag the deadline, the bins, the GPUs, and see who is late: in Jupyter (`explore`), and on a page of the book."""

from __future__ import annotations

from simlib.lazy import getter

__all__ = ["explore"]

__getattr__ = getter(__name__, {"explore": "widget"})
