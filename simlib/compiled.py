"""The same function, compiled: kernels are plain Python functions, and this module makes numba's twin of one.

A kernel uses scalars, arrays and `math` only, so that both ways agree to the last bit. Whatever plain functions a
kernel calls are compiled with it. Twins of the package's own kernels are cached on disk, in a folder named after the
package's source text, so that an edit in one module never meets a stale twin of another.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import CellType, FunctionType
from typing import Any

__all__ = ["compiled", "is_compilable"]

PACKAGE = Path(__file__).parent


@functools.cache
def compiled(function: Callable[..., Any], signature: Any = None) -> Callable[..., Any]:
    """Numba's twin of a plain function and of every plain function that it calls.

    Parameters
    ----------
    function : callable
        A plain function over scalars and arrays.
    signature : numba signature, optional
        With one, the twin is compiled now and can be passed to other kernels as a first-class function.

    Raises
    ------
    numba.core.errors.NumbaError
        If numba cannot compile it (see `is_compilable`).
    """
    import numba

    names = {*_names(function.__code__), "__name__"}
    namespace = {name: _twin(value) for name, value in function.__globals__.items() if name in names}
    cells = tuple(CellType(_twin(cell.cell_contents)) for cell in function.__closure__ or ())
    twin = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, cells or None)
    twin.__qualname__ = function.__qualname__
    ours = Path(function.__code__.co_filename).parent == PACKAGE and not cells
    with _cache_folder() if ours else nullcontext():
        return numba.njit(signature, cache=ours, nogil=True)(twin)


def is_compilable(function: Callable[..., Any], signature: Any) -> tuple[bool, str]:
    """Whether `compiled(function, signature)` works, and numba's first complaint if not."""
    from numba.core.errors import NumbaError

    try:
        compiled(function, signature)
    except (NumbaError, NotImplementedError, TypeError, AttributeError) as problem:
        return False, (str(problem).strip() or type(problem).__name__).splitlines()[0]
    return True, ""


def _twin(value: Any) -> Any:
    return compiled(value) if isinstance(value, FunctionType) else value


def _names(code: Any) -> set[str]:
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if hasattr(c, "co_names")))


@functools.cache
def _source_folder() -> str:
    from platformdirs import user_cache_path

    digest = hashlib.sha256()
    for module in sorted(PACKAGE.glob("*.py")):
        digest.update(module.read_bytes())
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_path("simlib") / "compiled")
    return str(root / digest.hexdigest()[:16])


@contextmanager
def _cache_folder() -> Iterator[None]:
    import numba

    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _source_folder()
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
