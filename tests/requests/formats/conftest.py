"""A file of a few lines, read."""

import json

import pytest

from simlib.requests.formats import known
from simlib.requests.formats.layout import Asked


@pytest.fixture
def parsed(tmp_path):
    """Reads a text, or objects a line, as whatever format it is."""

    def parsed(content, name="f.jsonl", **asked):
        if not isinstance(content, str):
            content = "".join(json.dumps(record) + "\n" for record in content)
        (tmp_path / name).write_text(content)
        return known.parse(tmp_path / name, asked=Asked(**asked))

    return parsed
