"""Terms at hand: a page's first use of each word of the glossary links to what it means, and says it on hovering."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docutils import nodes

GLOSSARY = "book/glossary"
WITHOUT = (GLOSSARY, "book/api", "book/references", "genindex")
# A heading, a name of code, a formula and what is a link already stay as they are.
KEPT = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw)


@dataclass(frozen=True, slots=True)
class Term:
    """An entry of the glossary: its anchor, and the beginning of its definition."""

    anchor: str
    meaning: str


def word(entry: str) -> str:
    """How an entry is written in a sentence, without its symbols: ``batch size $b$, $B$`` is a *batch size*."""
    return re.sub(r"\$[^$]*\$|(?<!\w)\w(?!\w)", "", entry).strip(" ,").lower()


def terms(glossary: nodes.document) -> dict[str, Term]:
    """Each word of the glossary with its entry."""
    found = {}
    for item in glossary.findall(nodes.definition_list_item):
        meaning = re.match(r".+?(?=[.;:] |\.?$)", next(item.findall(nodes.definition)).astext(), re.MULTILINE)[0]
        for entry in item.findall(nodes.term):
            spelled = "".join(part.astext() for part in entry.children if not isinstance(part, nodes.math))
            found[word(spelled)] = Term(entry["ids"][0], meaning)
    return found


def pieces(text: str, known: dict[str, Term], seen: set[str]) -> Iterator[tuple[str, Term | None]]:
    """A text in pieces: what lies between, and each first use with its term; `seen` has the anchors of earlier ones."""
    spelled = "|".join(re.escape(word) for word in sorted(known, key=len, reverse=True))
    done = 0
    for use in re.finditer(rf"(?<![\w-])({spelled})(?:s|es)?(?![\w-])", text, re.IGNORECASE):
        term = known[use[1].lower()]
        if term.anchor not in seen:
            seen.add(term.anchor)
            yield text[done : use.start()], None
            yield use[0], term
            done = use.end()
    yield text[done:], None


def link(app: Any, page: nodes.document, name: str) -> None:
    """Link a page's first uses."""
    if name in WITHOUT:
        return
    known, seen = terms(app.env.get_doctree(GLOSSARY)), set()
    address = app.builder.get_relative_uri(name, GLOSSARY)
    for text in list(page.findall(nodes.Text)):
        if _is_kept(text):
            continue
        parts = [
            _to(term, said, address) if term else nodes.Text(said)
            for said, term in pieces(text.astext(), known, seen)
            if said
        ]
        text.parent.replace(text, parts)


def _to(term: Term, said: str, glossary: str) -> nodes.reference:
    to = {"refuri": f"{glossary}#{term.anchor}", "reftitle": term.meaning, "internal": True}
    return nodes.reference(said, said, classes=["term"], **to)


def _is_kept(node: nodes.Node) -> bool:
    while node := node.parent:
        if isinstance(node, KEPT):
            return True
    return False


def setup(app: Any) -> dict[str, bool]:
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
