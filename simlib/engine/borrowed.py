"""Arrays handed to compiled kernels as cheaply as in C: without reference counts, or behind one pointer.

Numba passes a named tuple of arrays field by field, seven words an array, and counts references to each; both cost a
kernel of a few lines more than its arithmetic. Whoever calls a kernel holds the arrays for longer than it runs. In
plain Python both functions do nothing; `twins` are what they become in a compiled kernel.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any


def uncounted(value: Any) -> Any:
    """The same array, or tuple of arrays; in a compiled kernel without a reference count."""
    return value


def borrowed(value: Any) -> Any:
    """The same tuple of arrays; in a compiled kernel behind one pointer."""
    return value


def pointer_to(record: Any) -> Any:
    """The type of a pointer to a record: read from disk, it must be this process's own."""
    return twins().Borrowed(record)


@functools.cache
def twins() -> SimpleNamespace:
    """Numba's intrinsics of the two names, and `Borrowed`, the type of a pointer; made once a process."""
    from numba.core import cgutils, types
    from numba.core.datamodel import models
    from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
    from numba.core.typing.templates import AttributeTemplate, infer_getattr
    from numba.extending import intrinsic, register_model

    class Borrowed(types.Type):
        """A pointer to a named tuple that lives in the caller's frame; its fields are read by name."""

        def __init__(self, record: Any):
            self.record = record
            super().__init__(name=f"Borrowed({record})")

        def __reduce__(self) -> tuple:
            return pointer_to, (self.record,)

    @register_model(Borrowed)
    class BorrowedModel(models.PrimitiveModel):
        """One machine word."""

        def __init__(self, manager: Any, kind: Borrowed):
            super().__init__(manager, kind, manager.lookup(kind.record).get_value_type().as_pointer())

    @infer_getattr
    class BorrowedFields(AttributeTemplate):
        """Its fields have the record's types."""

        key = Borrowed

        def generic_resolve(self, kind: Borrowed, name: str) -> Any:
            fields = kind.record.fields
            return kind.record.types[fields.index(name)] if name in fields else None

    @lower_getattr_generic(Borrowed)
    def read_field(context: Any, builder: Any, kind: Borrowed, value: Any, name: str) -> Any:
        """Load one field from the caller's frame."""
        place = kind.record.fields.index(name)
        field = builder.load(cgutils.gep_inbounds(builder, value, 0, place))
        return impl_ret_borrowed(context, builder, kind.record.types[place], field)

    def without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        """The arrays' own fields with no owner to count for."""
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            return array._getvalue()
        parts = zip(kind, cgutils.unpack_tuple(builder, value, len(kind)), strict=True)
        return context.make_tuple(builder, kind, [without_owner(context, builder, *part) for part in parts])

    @intrinsic
    def uncounted(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return without_owner(context, builder, signature.args[0], arguments[0])

        return value(value), generate

    @intrinsic
    def borrowed(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return cgutils.alloca_once_value(builder, without_owner(context, builder, signature.args[0], arguments[0]))

        return Borrowed(value)(value), generate

    return SimpleNamespace(Borrowed=Borrowed, uncounted=uncounted, borrowed=borrowed)
