"""The same function, compiled: kernels are plain Python functions, and this module makes numba's twin of one.

A kernel uses scalars, arrays and `math` only, so that both ways agree to the last bit. Whatever plain functions a
kernel calls are compiled with it. Twins of the package's own kernels are cached on disk, each in a folder named after
the source text of all that it reaches: an edit there never meets a stale twin, and one elsewhere costs nothing.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import CellType, FunctionType
from typing import Any

import numpy as np

WORTHWHILE = 20_000  # requests


def compiled(function: Callable[..., Any], signature: Any = None) -> Callable[..., Any]:
    """Numba's twin of a plain function and of every plain function that it calls.

    Parameters
    ----------
    function : function
        A plain function over scalars and arrays.
    signature : numba signature, optional
        With one, the twin is compiled now and can be passed to other kernels as a first-class function.

    Raises
    ------
    TypeError
        If it is no plain function.
    numba.core.errors.NumbaError
        If numba cannot compile it (see `is_compilable`).
    """
    return _compiled(function, _Held(signature), _surroundings(function))


def called(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """`compiled`, to be called from Python with arguments of exactly the signature's types.

    Numba looks at the type of every argument of a call, longest at functions, which takes it more time than serving
    ten requests. Nobody looks here: an array of another type or layout would be misread.
    """
    return compiled(function, signature).get_compile_result(signature).entry_point


@functools.lru_cache(maxsize=256)
def bound(function: FunctionType, **kernels: FunctionType) -> FunctionType:
    """A kernel of the package with others of the package in place of its globals of these names.

    What is bound is compiled into its caller, where what is passed is called by address: dearer than a decision.
    """
    namespace = {**function.__globals__, **kernels}
    twin = FunctionType(
        function.__code__, namespace, "_".join([function.__name__, *(k.__name__ for k in kernels.values())])
    )
    twin.__module__ = function.__module__
    return twin


def is_compilable(function: Callable[..., Any], signature: Any) -> tuple[bool, str]:
    """Whether `compiled(function, signature)` works, and numba's first complaint if not."""
    if not isinstance(function, FunctionType):
        return False, f"{type(function).__name__}: not a plain function"
    return _is_compilable(function, _Held(signature), _surroundings(function))


def is_own(function: Any) -> bool:
    """Whether it is one of the package's kernels, which never change while the process lives."""
    of_package = isinstance(function, FunctionType) and (function.__module__ or "").startswith("simlib.")
    return of_package and not function.__closure__


def is_worthwhile(requests: int) -> bool:
    """Whether compiled kernels pay for serving this many more requests.

    Once numba is loaded, always. Before that, once this process has served, in all, what plain Python serves in the
    time that loading takes: a single small run answers sooner without, a study does not wait for long.
    """
    if "numba" in sys.modules:
        return True
    _in_plain_python.append(requests)
    return sum(_in_plain_python) > WORTHWHILE


_in_plain_python: list[int] = []


def uncounted(value: Any) -> Any:
    """The same array, or tuple of arrays; in a compiled kernel without a reference count (`simlib.engine.borrowed`)."""
    return value


def borrowed(value: Any) -> Any:
    """The same tuple of arrays; in a compiled kernel behind one pointer (`simlib.engine.borrowed`)."""
    return value


@functools.lru_cache(maxsize=256)
def _is_compilable(function: FunctionType, signature: _Held, surroundings: tuple) -> tuple[bool, str]:
    from numba.core.errors import NumbaError

    try:
        _compiled(function, signature, surroundings)
    except (NumbaError, NotImplementedError, TypeError, AttributeError, RecursionError) as problem:
        return False, (str(problem).strip() or type(problem).__name__).splitlines()[0]
    return True, ""


@functools.lru_cache(maxsize=256)
def _compiled(function: FunctionType, signature: _Held, surroundings: tuple) -> Callable[..., Any]:
    twin = _twin(function, {})
    if signature.value is not None:
        twin.compile(signature.value)
        twin.disable_compile()
        # Passed to another kernel, a twin and its address are looked up in each call: dearer than serving ten requests.
        result = twin.get_compile_result(signature.value)
        result.library.get_pointer_to_function = functools.cache(result.library.get_pointer_to_function)
        twin.get_compile_result = lambda _: result
    return twin


def _twin(value: Any, made: dict[FunctionType, Any], within_ours: bool = False) -> Any:
    """The dispatcher of a plain function, linked to those of what it calls (itself included); else the value."""
    if not isinstance(value, FunctionType):
        return value
    if value in (uncounted, borrowed):
        from simlib.engine import borrowed as kinds

        return getattr(kinds, value.__name__)
    if value in made:
        return made[value]
    import numba

    namespace: dict[str, Any] = {"__name__": value.__module__}
    cells = tuple(CellType() for _ in value.__closure__ or ())
    twin = FunctionType(value.__code__, namespace, value.__name__, value.__defaults__, cells or None)
    twin.__qualname__ = value.__qualname__
    ours = is_own(value)
    # A user's slip must not read somebody else's memory; our own kernels are tested, and spared the check. What is
    # called from within is inlined, an array argument is seven words to pass, unless it says `inlined = False`.
    inlined = bool(made) and getattr(value, "inlined", True)
    kept = ours and not within_ours  # on disk a kernel has in itself whatever it calls
    with _cache_folder(value, bool(made)) if kept else nullcontext():  # numba looks at the folder when it decorates
        options = {"cache": kept, "nogil": True, "boundscheck": not ours, "forceinline": inlined}
        if made:
            options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        made[value] = numba.njit(**options)(twin)
        _compile_once_a_type(made[value])
    namespace.update((name, _twin(held, made, ours)) for name, held in _globals(value))
    for cell, original in zip(cells, value.__closure__ or (), strict=True):
        cell.cell_contents = _twin(original.cell_contents, made, ours)
    return made[value]


def _compile_once_a_type(twin: Any) -> None:
    """Let a twin take constants for their types: for each 0 or -1 that is passed, numba compiles it once more."""
    from numba.core.types import unliteral

    typed = twin.get_call_template
    twin.get_call_template = lambda args, kwargs: typed(
        tuple(map(unliteral, args)), {name: unliteral(kind) for name, kind in kwargs.items()}
    )


class _Held:
    """A value that a function reads from around it: the same one is equal, and an array's content counts."""

    def __init__(self, value: Any):
        self.value = value
        self.content = value.tobytes() if isinstance(value, np.ndarray) else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.value is other.value and self.content == other.content

    def __hash__(self) -> int:
        return id(self.value)


def _surroundings(function: Callable[..., Any]) -> tuple[_Held, ...]:
    """What a function and those that it calls read from around them: numba freezes it, a notebook's next cell may not.

    A twin is only as good as these values, so they are part of its key.
    """
    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r}: not a plain function")
    if is_own(function):
        return ()
    held: list[_Held] = []
    reached, left = {function}, [function]
    while left:
        current = left.pop()
        values = [value for _, value in _globals(current)]
        values += [cell.cell_contents for cell in current.__closure__ or ()]
        held += map(_Held, values)
        called = {value for value in values if isinstance(value, FunctionType) and not is_own(value)} - reached
        reached |= called
        left += called
    return tuple(held)


def _globals(function: FunctionType) -> list[tuple[str, Any]]:
    names = sorted(_names(function.__code__))
    return [(name, function.__globals__[name]) for name in names if name in function.__globals__]


def _names(code: Any) -> set[str]:
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if hasattr(c, "co_names")))


@functools.cache
def _source(function: FunctionType) -> str:
    """A digest of the text of all kernels that a kernel reaches, and of the constants that they read."""
    reached, left, held = {function}, [function], set()
    while left:
        for name, value in _globals(left.pop()):
            if isinstance(value, FunctionType) and value not in reached:
                reached.add(value)
                left.append(value)
            elif isinstance(value, int | float | str | tuple):
                held.add(f"{name}={value!r}")
    files = sorted({inspect.getfile(kernel) for kernel in reached})
    held.update(kernel.__qualname__ for kernel in reached)
    digest = hashlib.sha256("\n".join(sorted(held)).encode())
    for file in files:
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _cache_folder(function: FunctionType, called: bool) -> Iterator[None]:
    import numba
    from platformdirs import user_cache_path

    root = Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_path("simlib") / "compiled")
    folder = root / f"{function.__name__}-{'called-' if called else ''}{_source(function)}"
    if sys.stderr.isatty() and not called and not folder.exists():
        print(f"simlib: compiling {function.__name__}, once for this version (a few seconds)", file=sys.stderr)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
