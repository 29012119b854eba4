"""Every figure of the book, one standard: alt text, axes that say what and in which unit, a policy's own colour."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from book.kit.names import SCHEDULER_NAMES
from book.kit.style import COLORS

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = sorted((ROOT / "figures").glob("*.svg"))
# What is counted or is a ratio says so in words; everything else has its unit in parentheses.
WITHOUT_UNIT = re.compile(
    r"\(.+\)|\d %|[Ss]hare|[Ll]ate requests|[Tt]imes |÷|/|over|residual|[Pp]robability|[Ee]rror|[Pp]lace in|Asked for"
    r"|Bins|GPUs|[Rr]equests|[Ss]equences|Batches|Cache in use|multiple|[Cc]orrelation"
)
POLICIES = {name: color.lower() for policy, color in COLORS.items() for name in (policy, SCHEDULER_NAMES[policy])}
INKS = {"", "#222222", "#000000", "#262626", "#ffffff"}


class Parsed:
    """A figure as matplotlib writes it: text as text, mathematics as glyphs behind a comment that says it."""

    def __init__(self, path: Path) -> None:
        parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
        self.root = ET.parse(path, parser=parser).getroot()

    def texts(self, inside: ET.Element) -> Iterator[tuple[str, str]]:
        """Each text with its colour, in the order of drawing."""
        for group in inside.iter(f"{SVG}g"):
            children = list(group)
            for place, child in enumerate(children):
                if child.tag is ET.Comment and place + 1 < len(children):
                    yield (child.text or "").strip(), _colour(children[place + 1])
                elif child.tag == f"{SVG}text" and not (place and children[place - 1].tag is ET.Comment):
                    yield "".join(child.itertext()).strip(), _colour(child)

    def axes(self) -> list[ET.Element]:
        return [group for group in self.root.iter(f"{SVG}g") if group.get("id", "").startswith("axes_")]

    def axis(self, axes: ET.Element, which: int) -> tuple[str, list[str]]:
        """An axis' label, empty if it has none, and the texts of its ticks."""
        label, ticks = "", []
        for axis in axes:
            if re.fullmatch(r"matplotlib\.axis_\d+", axis.get("id", "")):
                number = int(axis.get("id").rsplit("_", 1)[1])
                if (number - 1) % 2 != which - 1:
                    continue
                for part in axis:
                    said = [text for text, _ in self.texts(part)]
                    if "tick_" in part.get("id", ""):
                        ticks += said
                    else:
                        label = " ".join(said) or label
        return label, ticks


def _colour(group: ET.Element) -> str:
    found = re.search(r"(?:fill|stroke): (#[0-9a-f]{6})", group.get("style", ""))
    return found.group(1) if found else ""


def shown(notebook: Path) -> list[dict]:
    """The cells that save a figure."""
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if "page.figure(" in "".join(cell["source"])]


def test_there_is_a_picture_of_every_figure_that_a_study_declares():
    studies = yaml.safe_load((ROOT / "notebooks" / "studies.yaml").read_text())
    declared = {name for study in studies.values() for name in study.get("figures", [])}
    assert declared == {path.stem for path in FIGURES}


def test_every_figure_has_alt_text_that_tells_more_than_a_name():
    seen = set()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in shown(notebook):
            told = cell["metadata"].get("mystnb", {})
            alt, caption = told.get("image", {}).get("alt", ""), told.get("figure", {}).get("caption", "")
            where = f"{notebook.name}: {''.join(cell['source'])[:80]}"
            assert len(alt.split()) >= 8 and caption, where
            assert alt != caption and alt not in seen and not re.search(r"\.(svg|png)$", alt), where
            seen.add(alt)
    for page in (ROOT / "book").glob("*.md"):
        text = page.read_text()
        assert text.count("```{figure}") == len(re.findall(r"^:alt: \S+( \S+){7,}", text, re.MULTILINE)), page.name


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_axes_say_what_they_show_and_in_which_unit(path):
    figure = Parsed(path)
    axes = figure.axes()
    own = {id(group) for panel in axes for group in panel.iter()}
    over_all = [text for text, _ in figure.texts(figure.root)]
    outside = [text for group in figure.root.iter(f"{SVG}g") if id(group) not in own for text, _ in figure.texts(group)]
    for which in (1, 2):
        labelled = [figure.axis(panel, which) for panel in axes]
        labels = [label for label, _ in labelled if label]
        ticks = [tick for _, of_panel in labelled for tick in of_panel]
        names = [tick for tick in ticks if re.search(r"[^\W\d]{2}", tick)]
        if not labels and (names or not ticks):
            continue  # the ticks are names, or the axis shows no scale
        said = labels or [text for text in outside if WITHOUT_UNIT.search(text)]
        assert said, f"axis {which} has no label: {over_all}"
        percent = any(tick.endswith("%") for tick in ticks)
        assert all(percent or WITHOUT_UNIT.search(label) for label in said), said


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_a_policy_has_its_own_colour(path):
    figure = Parsed(path)
    for text, colour in figure.texts(figure.root):
        if text in POLICIES and colour not in INKS:
            assert colour == POLICIES[text], text
    for legend in figure.root.iter(f"{SVG}g"):
        if not legend.get("id", "").startswith("legend_"):
            continue
        colour = ""
        for part in legend:
            drawn = [_colour(one) for one in part.iter() if _colour(one) not in INKS]
            said = [text for text, _ in figure.texts(part)]
            for text in said:
                if text in POLICIES and colour:
                    assert colour == POLICIES[text], f"{text} in the legend"
            colour = drawn[0] if drawn and not said else colour


def test_policies_are_told_apart_without_colour():
    from book.kit.style import MARKERS

    assert len(set(MARKERS.values())) == len(COLORS)
