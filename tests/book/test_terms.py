"""The glossary's words on a page: the first use of each is linked, and nothing else."""

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from book._ext import terms

BIN, STEP = terms.Term("term-bin", "A class of requests"), terms.Term("term-step", "One pass of the model")


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("batch size $b$, $B$", "batch size"),
        ("first come, first served", "first come, first served"),
        ("joint optimum, $K^*$", "joint optimum"),
        ("TTFT", "ttft"),
    ],
)
def test_an_entry_is_known_by_its_words_without_its_symbols(entry, word):
    assert terms.word(entry) == word


def test_only_the_first_use_of_a_term_is_one_in_any_case_and_number():
    known, seen = {"bin": BIN, "step": STEP}, set()
    found = list(terms.pieces("Bins need GPUs; a bin of its own, in stepwise order.", known, seen))
    assert [(text, term) for text, term in found if term] == [("Bins", BIN)]
    assert "".join(text for text, _ in found) == "Bins need GPUs; a bin of its own, in stepwise order."
    assert list(terms.pieces("Another bin takes a step.", known, seen)) == [
        ("Another bin takes a ", None),
        ("step", STEP),
        (".", None),
    ]


def test_a_heading_a_link_and_code_stay_as_they_are():
    class Environment:
        def get_doctree(self, name):
            glossary = nodes.document(None, None)
            entry = nodes.term("", "bin", ids=["term-bin"])
            meaning = nodes.definition("", nodes.paragraph("", "A class of requests. More."))
            glossary += nodes.definition_list("", nodes.definition_list_item("", entry, meaning))
            return glossary

    class App:
        env = Environment()

        class builder:
            get_relative_uri = staticmethod(lambda page, to: "../glossary.html")

    page = publish_doctree("A bin\n=====\n\n``bin`` and `bin <x.html>`_, and then a bin.\n")
    terms.link(App, page, "notebooks/a")
    (made,) = [node for node in page.findall(nodes.reference) if "term" in node["classes"]]
    assert made.astext() == "bin" and made["refuri"] == "../glossary.html#term-bin"
    assert made["reftitle"] == "A class of requests"
    assert page.astext().endswith("bin and bin, and then a bin.")
    terms.link(App, page, "book/glossary")
    assert len([node for node in page.findall(nodes.reference) if "term" in node["classes"]]) == 1
