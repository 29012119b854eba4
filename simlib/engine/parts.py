"""How numba compiles the package's kernels: one that calls others with them as one piece, not each by itself.

Numba makes machine code of every function and optimises it, again in each that calls it, and asks anew for the types
of every addition. A kernel that only other kernels call is needed as a part of theirs alone.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any


@functools.cache
def compilers() -> SimpleNamespace:
    """Numba's compiler of a `whole` kernel, and that of its `part` s; made once a process."""
    from numba import _dynfunc
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import CompilerBase, DefaultPassBuilder
    from numba.core.compiler_machinery import register_pass
    from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
    from numba.core.untyped_passes import InlineClosureLikes, InlineInlinables, LiteralUnroll, WithLifting

    needless = InlineClosureLikes, InlineInlinables, InlineOverloads, LiteralUnroll, NopythonRewrites, WithLifting

    class Whole(JITCodeLibrary):
        """The code of a kernel with all that it calls, which is linked once and optimised once."""

        def add_linking_library(self, library: Any) -> None:
            library._ensure_finalized()
            self._linking_libraries += [library, *(library._linking_libraries if isinstance(library, Part) else ())]

        def finalize(self) -> None:
            self.exported = {one.name for one in self._final_module.functions if not one.is_declaration}
            self._linking_libraries.sort(key=lambda library: not isinstance(library, Part))  # who calls comes first
            super().finalize()

        def _optimize_functions(self, module: Any) -> None:
            module.data_layout = self._codegen._data_layout  # the rest is done to all of them at once

        def _optimize_final_module(self) -> None:
            for function in self._final_module.functions:
                if not function.is_declaration and function.name not in self.exported:
                    function.linkage = "internal"
            wide = {} if self.vectorised else {"loop_vectorize": False, "slp_vectorize": False}
            passes, builder = self._codegen._module_pass_manager(**wide)
            passes.run(self._final_module, builder)

    class Part(Whole):
        """Code that others take in, and that nobody calls by address."""

        def finalize(self) -> None:
            for function in self._final_module.functions:  # what says `inlined = False`
                if not function.is_declaration and b"alwaysinline" not in b" ".join(map(bytes, function.attributes)):
                    function.add_function_attribute("noinline")
            self._finalize_dynamic_globals()
            self._finalized = True

        def _get_module_for_linking(self) -> Any:
            return self._final_module

    @register_pass(mutates_CFG=True, analysis_only=False)
    class WholeLowering(NativeLowering):
        """Numba's own, into a library of another kind."""

        _name, library = "whole_lowering", Whole

        def run_pass(self, state: Any) -> bool:
            state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.vectorised = getattr(state.func_id.func, "vectorised", True)
            state.library.enable_object_caching()
            state.targetctx.refresh = lambda: None  # for each constant index numba looks for new extensions of its own
            try:
                return super().run_pass(state)
            finally:
                del state.targetctx.refresh

    @register_pass(mutates_CFG=True, analysis_only=False)
    class PartLowering(WholeLowering):
        """The same without an address: what callers know a part by is called by nobody."""

        _name, library = "part_lowering", Part

        def run_pass(self, state: Any) -> bool:
            state.flags.no_compile = True
            super().run_pass(state)
            lowered, module = state.cr, state.cr.fndesc.lookup_module()
            known_by = _dynfunc.make_function(module, lowered.fndesc.qualname, "", 0, lowered.env, (state.library,))
            state.targetctx.insert_user_function(known_by, lowered.fndesc, [state.library])
            state.cr = lowered._replace(cfunc=known_by)
            return True

    def compiler(lowering: Any) -> type:
        class Compiler(CompilerBase):
            """Numba's passes but for those that find nothing in a kernel, and the last."""

            def define_pipelines(self) -> list:
                manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
                kept = [(one, why) for one, why in manager.passes if one not in needless]
                manager.passes = [(lowering if one is NativeLowering else one, why) for one, why in kept]
                manager._finalized = False
                manager.finalize()
                return [manager]

        return Compiler

    return SimpleNamespace(whole=compiler(WholeLowering), part=compiler(PartLowering))


@contextlib.contextmanager
def in_haste() -> Iterator[None]:
    """Let numba remember what each operator makes of each types, and leave garbage until it is done."""
    from numba.core.types.functions import BaseFunction

    found, known, collects = BaseFunction.get_call_type, {}, gc.isenabled()

    def remembered(function: Any, context: Any, arguments: tuple, named: dict) -> Any:
        key = function, tuple(arguments), tuple(named.items())
        if key not in known:
            known[key] = found(function, context, arguments, named)
        return known[key]

    BaseFunction.get_call_type = remembered
    gc.disable()
    try:
        yield
    finally:
        BaseFunction.get_call_type = found
        if collects:
            gc.enable()
