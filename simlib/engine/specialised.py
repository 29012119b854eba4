"""A kernel for settings of which some are known: what they switch off is not there to be compiled.

A compiler that is told constants drops what they rule out, but only after it has found the types of all of it and made
code of it: most of the time that it takes. Here it is dropped before, from the text of a kernel and of all that it
calls, in Python's own meaning: a condition that is known leaves one branch.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from types import FunctionType, ModuleType
from typing import Any

PARTS = (ast.Constant, ast.Name, ast.Attribute, ast.Load, ast.Compare, ast.cmpop, ast.UnaryOp, ast.unaryop)


def specialised(kernel: FunctionType, record: str, **constants: float) -> FunctionType:
    """The kernel, and whatever it calls, with constants in place of fields of their argument of this name."""
    return _whole(kernel, record, tuple(sorted(constants.items())))


@functools.lru_cache(maxsize=64)
def _whole(kernel: FunctionType, record: str, constants: tuple[tuple[str, float], ...]) -> FunctionType:
    return _specialised(kernel, record, constants, {})


def _specialised(
    kernel: FunctionType,
    record: str,
    constants: tuple[tuple[str, float], ...],
    made: dict[FunctionType, FunctionType],
) -> FunctionType:
    if kernel in made:
        return made[kernel]
    arguments = kernel.__code__.co_varnames[: kernel.__code__.co_argcount]
    if record not in arguments:
        return kernel
    tree = ast.parse(textwrap.dedent(inspect.getsource(kernel)))
    definition = tree.body[0]
    definition.returns, definition.decorator_list = None, []
    for argument in definition.args.args:
        argument.annotation = None
    tree = ast.fix_missing_locations(_Known(kernel, record, dict(constants)).visit(tree))
    ast.increment_lineno(tree, kernel.__code__.co_firstlineno - 1)
    namespace = dict(kernel.__globals__)
    exec(compile(tree, inspect.getfile(kernel), "exec"), namespace)
    made[kernel] = twin = namespace[kernel.__name__]
    for name in twin.__code__.co_names:
        held = namespace.get(name)
        if isinstance(held, FunctionType) and held is not twin and held.__module__.startswith("simlib."):
            namespace[name] = _specialised(held, record, constants, made)
    twin.__dict__.update(kernel.__dict__)
    twin.__module__ = kernel.__module__
    digest = hashlib.sha256(repr((record, constants)).encode()).hexdigest()[:16]
    twin.__qualname__ = f"{kernel.__qualname__}_{digest}"  # numba names machine code by it: none shares it
    return twin


class _Known(ast.NodeTransformer):
    """What is known of a kernel's text, put in, and what that rules out, taken away."""

    def __init__(self, kernel: FunctionType, record: str, constants: dict[str, float]):
        self.record, self.constants = record, constants
        numbers = {k: v for k, v in kernel.__globals__.items() if isinstance(v, int | float | ModuleType)}
        self.globals = {name: numbers[name] for name in numbers if name not in kernel.__code__.co_varnames}

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        of_record = isinstance(node.value, ast.Name) and node.value.id == self.record
        known = of_record and isinstance(node.ctx, ast.Load) and node.attr in self.constants
        return ast.copy_location(ast.Constant(self.constants[node.attr]), node) if known else node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        return self._value(self.generic_visit(node))

    visit_UnaryOp = visit_Compare

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        decisive, left = isinstance(node.op, ast.Or), []
        for place, operand in enumerate(map(self.visit, node.values)):
            known = isinstance(operand, ast.Constant)
            if not known or bool(operand.value) == decisive or place == len(node.values) - 1:
                left.append(operand)
            if known and bool(operand.value) == decisive:
                break
        return left[0] if len(left) == 1 else ast.copy_location(ast.BoolOp(node.op, left), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        test = self.visit(node.test)
        if isinstance(test, ast.Constant):
            return self.visit(node.body if test.value else node.orelse)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        test = self.visit(node.test)
        if not isinstance(test, ast.Constant):
            return self.generic_visit(node)
        taken = [self.visit(statement) for statement in (node.body if test.value else node.orelse)]
        return [one for some in taken for one in (some if isinstance(some, list) else [some])] or ast.Pass()

    def _value(self, node: ast.expr) -> ast.expr:
        """A constant, if all that an expression reads is known."""
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        if names <= self.globals.keys() and all(isinstance(part, PARTS) for part in ast.walk(node)):
            code = compile(ast.fix_missing_locations(ast.Expression(node)), "<known>", "eval")
            return ast.copy_location(ast.Constant(eval(code, self.globals)), node)
        return node
