"""Modules that are loaded on first use, so that `import simlib` and `simlib --help` stay light."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

NONE: Mapping[str, str] = MappingProxyType({})


def getter(package: str, homes: Mapping[str, str] = NONE) -> Callable[[str], Any]:
    """A package's `__getattr__`: its modules, and names that live in one of them (``homes``: name to module)."""

    def attribute(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        if name.startswith("_") or importlib.util.find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return attribute
