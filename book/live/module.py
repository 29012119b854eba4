"""The kernels as a module of WebAssembly: what numba makes of them for this machine, made for the page's instead.

Numba's output is LLVM's own language, before any machine's. Here it is cut to the entries, given memory that is handed
out and never taken back (the page sets it back before each run), optimised and written for WebAssembly by the LLVM that
numba brings. Such an object is a module but for its exports, which are added: nothing else is needed to link one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from simlib.engine.compiled import compiled

TRIPLE = "wasm32-unknown-unknown"
FEATURES = "+bulk-memory,+sign-ext,+nontrapping-fptoint,+mutable-globals"
# Numba's own output before any machine's: what it would optimise for this one is left to what is made for the page.
SETTINGS = {"CPU_NAME": "generic", "CPU_FEATURES": "", "OPT": "0", "LOOP_VECTORIZE": "0", "SLP_VECTORIZE": "0"}
# What numba's arrays ask of its runtime: a header (count, two pointers, the data, its size) before 32-byte blocks.
MEMORY = """
@top = internal global i32 0
define ptr @NRT_MemInfo_alloc_aligned(i64 %bytes, i32 %align) {
  %size = trunc i64 %bytes to i32
  %start = load i32, ptr @top
  %padded = add i32 %size, 95
  %step = and i32 %padded, -32
  %end = add i32 %start, %step
  store i32 %end, ptr @top
  %pages = call i32 @llvm.wasm.memory.size.i32(i32 0)
  %has = shl i32 %pages, 16
  %more = icmp ugt i32 %end, %has
  br i1 %more, label %grow, label %made
grow:
  %lacks = sub i32 %end, %has
  %ceiling = add i32 %lacks, 1048575
  %wanted = lshr i32 %ceiling, 16
  %before = call i32 @llvm.wasm.memory.grow.i32(i32 0, i32 %wanted)
  %failed = icmp eq i32 %before, -1
  br i1 %failed, label %none, label %made
none:
  unreachable
made:
  %info = inttoptr i32 %start to ptr
  %data = add i32 %start, 32
  %there = inttoptr i32 %data to ptr
  %place = getelementptr {i64, ptr, ptr, ptr, i64, ptr}, ptr %info, i32 0, i32 3
  store ptr %there, ptr %place
  ret ptr %info
}
define void @NRT_incref(ptr %info) { ret void }
define void @NRT_decref(ptr %info) { ret void }
define void @heap(i32 %top) {
  store i32 %top, ptr @top
  ret void
}
define void @__multi3(ptr %result, i64 %low, i64 %high, i64 %by_low, i64 %by_high) noinline optnone {
  %a = and i64 %low, 4294967295
  %b = lshr i64 %low, 32
  %c = and i64 %by_low, 4294967295
  %d = lshr i64 %by_low, 32
  %ac = mul i64 %a, %c
  %bc = mul i64 %b, %c
  %ad = mul i64 %a, %d
  %bd = mul i64 %b, %d
  %carry = lshr i64 %ac, 32
  %bc_low = and i64 %bc, 4294967295
  %ad_low = and i64 %ad, 4294967295
  %sum = add i64 %carry, %bc_low
  %middle = add i64 %sum, %ad_low
  %over = lshr i64 %middle, 32
  %bc_high = lshr i64 %bc, 32
  %ad_high = lshr i64 %ad, 32
  %x = add i64 %bd, %over
  %y = add i64 %x, %bc_high
  %z = add i64 %y, %ad_high
  %crossed = mul i64 %low, %by_high
  %other = mul i64 %high, %by_low
  %v = add i64 %z, %crossed
  %top_word = add i64 %v, %other
  %low_word = mul i64 %low, %by_low
  store i64 %low_word, ptr %result
  %next = getelementptr i64, ptr %result, i32 1
  store i64 %top_word, ptr %next
  ret void
}
declare i32 @llvm.wasm.memory.size.i32(i32)
declare i32 @llvm.wasm.memory.grow.i32(i32, i32)
"""


def build() -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The module, and of each entry its parameters and how many of them it reads; those behind are filled.

    A parameter is ``integer``, ``number``, or an array's type such as ``f64[]``.

    To be called in a process that has not loaded numba yet: it is told what to make by the environment.
    """
    os.environ |= {f"NUMBA_{name}": value for name, value in SETTINGS.items()}
    from book.live.entries import ENTRIES

    texts, exports = [], {}
    for entry, (signature, reads) in ENTRIES.items():
        made = compiled(entry, signature).get_compile_result(signature)
        texts.append((made.library.get_llvm_str(), made.fndesc.llvm_func_name, entry.__name__))
        exports[entry.__name__] = {"parameters": [_parameter(kind) for kind in signature.args], "reads": reads}
    return _finished(_object(texts), ["heap", *exports]), exports


def _parameter(kind: Any) -> str:
    from numba import types

    if isinstance(kind, types.Array):
        short = str(kind.dtype).replace("uint", "u").replace("int", "i").replace("float", "f")
        axes = "," * (kind.ndim - 1)
        return f"{short}[{axes}]"
    return "integer" if isinstance(kind, types.Integer) else "number"


def _object(texts: list[tuple[str, str, str]]) -> bytes:
    """LLVM's object for the page of some functions' texts, each with the name of the one that is an entry."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLE)
    machine = target.create_target_machine(cpu="generic", features=FEATURES, opt=3, reloc="static")
    head = f'target datalayout = "{machine.target_data}"\ntarget triple = "{TRIPLE}"\n'
    whole, kept = llvm.parse_assembly(head + MEMORY), {"heap", "__multi3"}
    for text, symbol, name in texts:
        module = llvm.parse_assembly(head + _without_machine(text))
        for function in module.functions:
            if function.name == symbol:
                function.name = name
            elif not function.is_declaration and function.linkage != llvm.Linkage.internal:
                function.linkage = "linkonce_odr"
        kept.add(name)
        whole.link_in(module)
    for each in (*whole.functions, *whole.global_variables):
        if not each.is_declaration and each.name not in kept:
            each.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.size_level = 1
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(whole, builder)
    return machine.emit_object(whole)


def _without_machine(text: str) -> str:
    """Numba's text without the machine that it was made for, its wrappers for Python, and its counting of owners."""
    text = re.sub(r"^target .*$", "", text, flags=re.M)
    bodies = r'^define [^\n]*@(?:"?cfunc\.|_ZN7cpython|NRT_incref|NRT_decref)[^\n]*\{\n.*?^\}$'
    text = re.sub(bodies, "", text, flags=re.M | re.S)
    text = re.sub(r"@(NRT_\w+)\.\d+", r"@\1", text)  # each kernel that was linked into one brought its own
    declared = "".join(f"declare void @{name}(ptr)\n" for name in ("NRT_incref", "NRT_decref") if f"@{name}(" in text)
    return text + "\n" + declared


def _finished(made: bytes, exports: list[str]) -> bytes:
    """An object as a module: without what only a linker reads, and with exports.

    Raises
    ------
    ValueError
        If it has no function of a name.
    """
    parts = list(_sections(made))
    names = _functions_by_name({name: body for kind, name, body in parts if kind == 0})
    body = _number(len(exports))
    for name in exports:
        if name not in names:
            raise ValueError(f"{name}: no function of the module")
        body += _number(len(name)) + name.encode() + b"\0" + _number(names[name])
    read = [(kind, content) for kind, _, content in parts if kind != 0]
    before = sum(kind <= 6 for kind, _ in read)  # exports stand behind globals
    return made[:8] + b"".join(_section(*each) for each in [*read[:before], (7, body), *read[before:]])


def _sections(made: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Kind, name (of those that an engine does not read) and content of each section."""
    place = 8
    while place < len(made):
        kind, (size, place) = made[place], _read(made, place + 1)
        content, name, place = made[place : place + size], "", place + size
        if kind == 0:
            length, start = _read(content, 0)
            name, content = content[start : start + length].decode(), content[start + length :]
        yield kind, name, content


def _functions_by_name(linking: Mapping[str, bytes]) -> dict[str, int]:
    """The functions that an object defines, by the names that its table of symbols has."""
    content, found = linking["linking"], {}
    _, place = _read(content, 0)  # the version
    while place < len(content):
        kind, (size, place) = content[place], _read(content, place + 1)
        end = place + size
        if kind == 8:  # the table of symbols
            count, place = _read(content, place)
            for _ in range(count):
                of, (flags, place) = content[place], _read(content, place + 1)
                undefined, explicit = flags & 0x10, flags & 0x40
                if of in (0, 2, 4, 5):  # function, global, tag, table
                    number, place = _read(content, place)
                    if not undefined or explicit:
                        length, place = _read(content, place)
                        name, place = content[place : place + length].decode(), place + length
                        if of == 0:
                            found[name] = number
                elif of == 1:  # data
                    length, place = _read(content, place)
                    place += length
                    if not undefined:
                        for _ in range(3):
                            _, place = _read(content, place)
                else:  # a section
                    _, place = _read(content, place)
        place = end
    return found


def _read(content: bytes, place: int) -> tuple[int, int]:
    """A number in LEB128, and where it ends."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _number(value: int) -> bytes:
    written = b""
    while True:
        value, byte = value >> 7, value & 0x7F
        written += bytes([byte | (0x80 if value else 0)])
        if not value:
            return written


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _number(len(content)) + content
