"""What a module offers: its own functions and classes without a leading underscore."""

from types import ModuleType
from typing import Any


def public(*modules: ModuleType) -> dict[str, Any]:
    """They, by name."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and callable(value) and not name.startswith("_")
    }
