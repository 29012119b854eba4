"""A grid's YAML, read as a person means it: a number is decimal, only true and false are booleans, the rest is text.

The YAML of most libraries takes ``012`` for ten, ``1:30`` for ninety, ``on`` for true and ``1e1`` for a text. Nesting,
aliases and size are bounded, before any of them can fill a memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from simlib import reading
from simlib.checks import InputError, number_in, shown

MOST_BYTES, MOST_VALUES, MOST_NESTED = 1 << 20, 100_000, 32
TEXT_TAG = "tag:yaml.org,2002:str"
WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL"))
WORDS |= {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
EXACT = 2**53  # whole numbers below are the same as floats


def read(path: str | Path, what: str) -> tuple[str, Any]:
    """The name of a YAML file and what it holds, as numbers, texts, booleans, None, lists and mappings by text.

    Raises
    ------
    InputError
        If it cannot be read, is larger than a grid can be or no YAML, has a key twice, an alias within itself, a tag or
        too much of anything (line and column are named).
    """
    size = Path(path).stat().st_size if Path(path).is_file() else 0
    source, text = reading.text(path, what) if size <= MOST_BYTES else (Path(path).name, "")
    if max(size, len(text)) > MOST_BYTES:
        raise InputError(f"{source}: {max(size, len(text)):,} bytes (expected at most {MOST_BYTES:,} of YAML)")
    return source, parsed(text, source)


def parsed(text: str, source: str) -> Any:
    """What a YAML text holds, as in `read`.

    Examples
    --------
    >>> parsed("{gpus: [1e1, 012], rows: on, sla: 500ms, policy.k_bins: ~}", "a text")
    {'gpus': [10, '012'], 'rows': 'on', 'sla': '500ms', 'policy.k_bins': None}
    """
    import yaml

    try:
        return _Document(source, yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))).whole()
    except yaml.YAMLError as problem:
        mark, why = getattr(problem, "problem_mark", None), getattr(problem, "problem", None) or problem
        if mark and mark.line > text.count("\n"):  # behind the end: where began what has none?
            mark = problem.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{source}{where}: {' '.join(str(why).split())} (expected YAML)") from None


class _Document:
    """The events of one document, made to plain data; a value that has a name is kept with its size."""

    def __init__(self, source: str, events: Iterator[Any]) -> None:
        self.source, self.events = source, events
        self.named: dict[str, tuple[Any, int]] = {}
        self.values = 0

    def whole(self) -> Any:
        import yaml

        value = None
        for number, event in enumerate(self._until(yaml.StreamEndEvent)):  # of a document: start, value, end
            if isinstance(event, yaml.DocumentStartEvent) and number > 1:
                self._refuse(event, "a second document (expected one)")
            if isinstance(event, yaml.NodeEvent):
                value = self._value(event, 0)
        return value

    def _until(self, end: type) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def _value(self, event: Any, nested: int) -> Any:
        import yaml

        before = self.values
        self._count(event, 1)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.named:
                self._refuse(event, f"*{event.anchor} (expected a value named &{event.anchor} before, not around it)")
            value, size = self.named[event.anchor]
            self._count(event, size)
            return value
        if event.tag not in (None, "!", TEXT_TAG):
            self._refuse(event, f"tag {event.tag} (expected numbers, texts, lists and mappings alone)")
        if nested > MOST_NESTED:
            self._refuse(event, f"more than {MOST_NESTED} lists or mappings in one another (expected a few)")
        if isinstance(event, yaml.ScalarEvent):
            value = self._plain(event) if event.implicit[0] else event.value  # the latter: in quotes
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self._value(inner, nested + 1) for inner in self._until(yaml.SequenceEndEvent)]
        else:
            value = self._mapping(nested)
        if event.anchor:
            self.named[event.anchor] = value, self.values - before
        return value

    def _mapping(self, nested: int) -> dict[str, Any]:
        import yaml

        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for event in self._until(yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key that is no text (expected a parameter's name)")
            key = event.value
            if key in lines:
                self._refuse(event, f"{shown(key)} twice (first in line {lines[key]}; expected once)")
            lines[key] = event.start_mark.line + 1
            value = self._value(next(self.events), nested + 1)
            if key != "<<" or not event.implicit[0]:
                own[key] = value
                continue
            for other in value if isinstance(value, list) else [value]:
                if not isinstance(other, dict):
                    self._refuse(event, f"<<: {shown(other)} (expected a mapping)")
                merged = other | merged
        return merged | own

    def _plain(self, event: Any) -> Any:
        text = event.value
        if text in WORDS:
            return WORDS[text]
        if re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", text):
            if len(text) > 20:
                self._refuse(event, f"an integer of {len(text)} digits (expected one of 64 bits)")
            return int(text)
        number = number_in(text)
        if number != number or re.match(r"[-+]?0[0-9]", text):  # 012: the number of a person, or an octal one?
            return text
        return int(number) if "." not in text and number.is_integer() and abs(number) < EXACT else number

    def _count(self, event: Any, more: int) -> None:
        self.values += more
        if self.values > MOST_VALUES:
            self._refuse(event, f"more than {MOST_VALUES:,} values, aliases opened (expected a grid)")

    def _refuse(self, event: Any, why: str) -> NoReturn:
        mark = event.start_mark
        raise InputError(f"{self.source}, line {mark.line + 1}, column {mark.column + 1}: {why}")
