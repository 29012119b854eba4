"""Each object once in the API reference, with the module that defines it: names that others pass on are left out."""

from __future__ import annotations

from typing import Any


def skip_guests(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Skip a module's member that another module defines."""
    if what != "module":
        return None
    home, documented = getattr(obj, "__module__", None), app.env.temp_data.get("autodoc:module")
    return True if home and documented and home != documented else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-skip-member", skip_guests)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
