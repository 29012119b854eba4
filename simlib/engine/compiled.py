"""The same function, compiled: kernels are plain Python functions, and this module makes numba's twin of one.

A kernel uses scalars, arrays and `math` only, so that both ways agree to the last bit. Whatever plain functions a
kernel calls are compiled with it. Twins of the package's own kernels are kept on disk, each in a file named after the
source text of all that it reaches: an edit there never meets a stale twin, and one elsewhere costs nothing.

Any thread may be the first to use a kernel. Numba is loaded, and compiles, for one thread at a time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import signal
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CellType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from simlib.engine.borrowed import borrowed, twins
from simlib.engine.parts import compilers, in_haste

WORTHWHILE = 20_000  # requests
MORE = -1  # a loop's answer that it has come back before its end
_compiling = threading.RLock()


def one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, for one thread at a time: whatever loads numba or compiles, and what remembers that it did.

    Two threads that enter numba at different modules would find each other's half loaded.
    """

    @functools.wraps(function)
    def alone(*arguments: Any, **named: Any) -> Any:
        with _compiling:
            return function(*arguments, **named)

    return alone


@one_at_a_time
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


@one_at_a_time
@functools.lru_cache(maxsize=256)
def bound(function: FunctionType, **kernels: FunctionType) -> FunctionType:
    """A kernel of the package with others of the package in place of its globals of these names.

    What is bound is compiled into its caller, where what is passed is called by address: dearer than a decision.
    """
    namespace = {**function.__globals__, **kernels}
    names = [kernel.__name__ for kernel in kernels.values()]
    twin = FunctionType(function.__code__, namespace, "_".join([function.__name__, *names]))
    twin.__module__ = function.__module__
    twin.__qualname__ = f"{function.__qualname__}_{source_digest(twin)}"  # numba names machine code by it
    return twin


@one_at_a_time
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


def until_done(loop: Callable[..., int], *arguments: Any) -> int:
    """Run a loop to its end, which it comes back before: only between two calls does Python hear Ctrl-C."""
    outcome = MORE
    with _ctrl_c() as hear:
        while outcome == MORE:
            outcome = loop(*arguments)
            hear()
    return outcome


@contextlib.contextmanager
def _ctrl_c() -> Iterator[Callable[[], None]]:
    """Keep Ctrl-C for `hear` where it comes in what numba runs to start a kernel, which swallows what is raised."""
    kept: list[tuple[int, FrameType | None]] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return

    def hear() -> None:
        while kept:
            before(*kept.pop())

    def keep(number: int, frame: FrameType | None) -> None:
        called, caller = None, frame
        while caller is not None and caller.f_code is not until_done.__code__:
            called, caller = caller, caller.f_back
        if called is None or called.f_globals["__name__"].startswith("simlib."):  # a plain loop, a user's function
            return before(number, frame)
        kept.append((number, frame))

    signal.signal(signal.SIGINT, keep)
    try:
        yield hear
    finally:
        signal.signal(signal.SIGINT, before)
        hear()


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
    twin, wanted = _twin(function, {}), signature.value
    if wanted is not None:
        with in_haste():
            twin.compile(wanted if is_own(function) else wanted.args)
        if _answers(twin, wanted) != wanted.return_type:  # a user's function: see what it answers with
            twin = _twin(function, {})
            twin.compile(wanted)
        twin.disable_compile()
        # Passed to another kernel, a twin and its address are looked up in each call: dearer than serving ten requests.
        result = twin.get_compile_result(wanted)
        result.library.get_pointer_to_function = functools.cache(result.library.get_pointer_to_function)
        twin.get_compile_result = lambda _: result
    return twin


def _answers(twin: Any, wanted: Any) -> Any:
    """The type that a twin returns; TypeError if numba would cut it to what is wanted, 1.5 to 1."""
    from numba.core.registry import cpu_target
    from numba.core.typeconv import Conversion

    found = twin.overloads[wanted.args].signature.return_type
    if cpu_target.typing_context.can_convert(found, wanted.return_type) == Conversion.unsafe:
        raise TypeError(f"it answers with {found}, not with {wanted.return_type}")
    return found


def _twin(value: Any, made: dict[tuple[FunctionType, bool], Any], within_ours: bool = False) -> Any:
    """The dispatcher of a plain function, linked to those of what it calls (itself included); else the value."""
    if not isinstance(value, FunctionType):
        return value
    if value is borrowed:
        return twins().borrowed
    if (value, within_ours) in made:  # of ours, a part of another, and what a user's function calls, are two
        return made[value, within_ours]
    import numba

    namespace: dict[str, Any] = {"__name__": value.__module__}
    cells = tuple(CellType() for _ in value.__closure__ or ())
    twin = FunctionType(value.__code__, namespace, value.__name__, value.__defaults__, cells or None)
    twin.__qualname__ = value.__qualname__
    twin.__dict__.update(value.__dict__)
    ours = is_own(value)
    # A user's slip must not read somebody else's memory; our own kernels are tested, and spared the check. What is
    # called from within is inlined, an array argument is seven words to pass, unless it says `inlined = False`.
    inlined = bool(made) and getattr(value, "inlined", True)
    kept = ours and not within_ours  # on disk a kernel has in itself whatever it calls
    options = {"nogil": True, "boundscheck": not ours, "forceinline": inlined}
    if ours:  # they make no array, and whoever calls one holds those that it is handed: none is counted
        options["_nrt"] = False
        options["pipeline_class"] = compilers().part if within_ours else compilers().whole
    if made:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    within = bool(made)
    made[value, within_ours] = twin = numba.njit(**options)(twin)
    twin.compile = one_at_a_time(twin.compile)  # without a signature it compiles when it is called
    if kept:
        twin._cache = _Disk(value, within)  # numba's own learns where from a setting of the whole process
    _compile_once_a_type(twin)
    namespace.update((name, _twin(held, made, ours)) for name, held in _globals(value))
    for cell, original in zip(cells, value.__closure__ or (), strict=True):
        cell.cell_contents = _twin(original.cell_contents, made, ours)
    return twin


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
def source_digest(function: FunctionType) -> str:
    """A digest of the text of all kernels that a kernel reaches, and of the constants that they read."""
    reached, left, held, read = {function}, [function], set(), {borrowed}  # its types are in signatures
    while left:
        for name, value in _globals(left.pop()):
            if isinstance(value, FunctionType):
                held.add(f"{name}={value.__module__}.{value.__qualname__}")
                left += {value} - reached
                reached.add(value)
            elif isinstance(value, int | float | str | tuple):
                held.add(f"{name}={value!r}")
            elif isinstance(value, ModuleType) and value.__name__.startswith("simlib."):
                read.add(value)
    files = sorted({inspect.getfile(source) for source in (*reached, *read)})
    held.update(kernel.__qualname__ for kernel in reached)
    digest = hashlib.sha256("\n".join(sorted(held)).encode())
    for file in files:
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


class _Disk:
    """Where numba keeps a kernel's machine code: one file for all that it was made from and for.

    A file is headed by a digest of these and of the rest of it. One that was cut, damaged or put there for another
    kernel is none.
    """

    said = False  # once a process

    def __init__(self, kernel: FunctionType, called: bool):
        self.kernel, self.called = kernel, called

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The machine code, linked; None: compile."""
        from numba.core import sigutils
        from numba.core.compiler import CompileResult

        target.refresh()
        file, made_for = self._place(signature, target.codegen())
        try:
            content = file.read_bytes()
            head, content = content[: len(made_for)], content[len(made_for) :]
            if head == hashlib.sha256(made_for + content).digest():
                found = CompileResult._rebuild(target, *pickle.loads(content))
                if found.signature.args == sigutils.normalize_signature(signature)[0]:
                    return found
        except Exception:  # whatever lies there, it can be compiled again
            pass
        if sys.stderr.isatty() and not self.called:
            name = self.kernel.__name__
            print(f"simlib: compiling {name}, once for this version (a few seconds)", file=sys.stderr)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep the machine code if it can be kept: the run has it in any case."""
        from numba.core.serialize import dumps

        if result.library.has_dynamic_globals:
            return
        file, made_for = self._place(signature, result.codegen)
        content, aside = dumps(result._reduce()), file.with_suffix(f".{uuid.uuid4().hex}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(hashlib.sha256(made_for + content).digest() + content)
            os.replace(aside, file)
        except OSError as problem:
            with contextlib.suppress(OSError):
                aside.unlink()
            self._say_not_kept(file.parent, problem.strerror)

    def _place(self, signature: Any, codegen: Any) -> tuple[Path, bytes]:
        import numba
        from platformdirs import user_cache_path

        root = Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_path("simlib") / "compiled")
        machine = numba.__version__, sys.implementation.cache_tag, codegen.magic_tuple()
        text = repr((source_digest(self.kernel), self.called, str(signature), machine))
        made_for = hashlib.sha256(text.encode()).digest()
        return root / f"{self.kernel.__name__}-{made_for.hex()[:32]}.kernel", made_for

    def _say_not_kept(self, folder: Path, why: str) -> None:
        if not _Disk.said:
            _Disk.said = True
            compiles = "compiled kernels are not kept, each process compiles its own"
            folders = f"{folder} cannot be written: {why}; expected NUMBA_CACHE_DIR to name a folder that can"
            warnings.warn(f"{compiles} ({folders})", stacklevel=2)
