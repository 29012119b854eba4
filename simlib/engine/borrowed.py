"""Arrays handed to compiled kernels as cheaply as in C: a record of them behind one pointer.

Numba passes a named tuple of arrays field by field, seven words an array, in each call; that costs a kernel of a few
lines more than its arithmetic, and the compiler more than all else. In plain Python `borrowed` does nothing; `twins`
has what it becomes in a compiled kernel.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any


def borrowed(value: Any) -> Any:
    """The same tuple of arrays; in a compiled kernel behind one pointer."""
    return value


def pointer_to(record: Any) -> Any:
    """The type of a pointer to a record: read from disk, it must be this process's own."""
    return twins().Borrowed(record)


@functools.cache
def twins() -> SimpleNamespace:
    """Numba's intrinsic `borrowed`, and `Borrowed`, the type of a pointer; made once a process."""
    from numba.core import cgutils, types
    from numba.core.datamodel import models
    from numba.core.imputils import lower_getattr_generic
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
        return read(context, builder, kind.record.types[place], cgutils.gep_inbounds(builder, value, 0, place))

    def read(context: Any, builder: Any, kind: Any, address: Any) -> Any:
        """An array, word by word and without an owner to count for, or a number."""
        if not isinstance(kind, types.Array):
            return unchanging(builder, address)
        make = context.make_array(kind)
        array, there = make(context, builder), make(context, builder, ref=address)
        for owner in ("meminfo", "parent"):
            setattr(array, owner, cgutils.get_null_value(getattr(array, owner).type))
        for word in ("nitems", "itemsize", "data"):
            setattr(array, word, unchanging(builder, there._get_ptr_by_name(word)))
        for words in ("shape", "strides"):
            first = there._get_ptr_by_name(words)
            axes = [cgutils.gep_inbounds(builder, first, 0, axis) for axis in range(kind.ndim)]
            setattr(array, words, cgutils.pack_array(builder, [unchanging(builder, axis) for axis in axes]))
        return array._getvalue()

    def unchanging(builder: Any, address: Any) -> Any:
        """A word of the record: nobody writes there, so that the compiler may read it once for all of a kernel."""
        word = builder.load(address)
        word.set_metadata("invariant.load", builder.module.add_metadata([]))
        return word

    @intrinsic
    def borrowed(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return cgutils.alloca_once_value(builder, arguments[0])

        return Borrowed(value)(value), generate

    return SimpleNamespace(Borrowed=Borrowed, borrowed=borrowed)
