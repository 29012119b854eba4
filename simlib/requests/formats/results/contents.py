"""What the prompts of a benchmark contain, as far as its file says: pieces, by which it shows what prompts share.

vLLM's and SGLang's results have no prompts, but whoever makes one may add them, as texts, as tokens or as names of
blocks; inference-perf has the bodies of its requests. Texts are cut by their letters, as nobody tells their tokens.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from simlib.requests.formats.blocks import ENGINE_BLOCK_TOKENS, names_of

COLUMNS = ("prompts", "prompt", "prompt_token_ids", "hash_ids")  # of a result of arrays; the last are pieces already
BODY = ("prompt", "messages", "input")  # of a request in OpenAI's form
LETTERS = 4 * ENGINE_BLOCK_TOKENS  # of a piece of a text; four to a token, or so


def pieces(prompts: Sequence[Any], named: bool = False) -> list[list[Hashable]]:
    """Names of each prompt's pieces from its beginning on; equal ones are of equal content, all before them included.

    Parameters
    ----------
    prompts : sequence
        Texts, bodies of requests, lists of tokens; of whatever else it is nothing is known.
    named : bool
        Whether the lists are of names already.

    Examples
    --------
    >>> pieces([[1] * 32, [1] * 16 + [2] * 20, '{"prompt": "' + "a" * 64 + '"}', None])
    [[0, 1], [0, 2], [-1], []]
    """
    if named:
        return [ids if _is_list(ids, int | str) else [] for ids in prompts]
    contents = [_content(prompt) for prompt in prompts]
    tokens = iter(names_of((one for one in contents if not isinstance(one, str)), ENGINE_BLOCK_TOKENS))
    texts = iter(names_of((one for one in contents if isinstance(one, str)), LETTERS))
    return [[-1 - name for name in next(texts)] if isinstance(one, str) else next(tokens) for one in contents]


def repeated(named: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Which share of each prompt's pieces those before it began with, in order.

    Examples
    --------
    >>> repeated([[1, 2], [1, 3, 4], [], [1, 3]]).round(3).tolist()
    [0.0, 0.333, 0.0, 1.0]
    """
    seen: set[Hashable] = set()
    shares = np.zeros(len(named))
    for row, own in enumerate(named):
        leading = next((place for place, piece in enumerate(own) if piece not in seen), len(own))
        shares[row] = leading / max(len(own), 1)
        seen.update(own)
    return shares


def _content(prompt: Any) -> str | list[int]:
    """A prompt's text or tokens; of a request's body what the model is given."""
    text, body = (prompt if isinstance(prompt, str) else ""), prompt
    try:
        if text.startswith("{"):
            body = json.loads(text)
        if isinstance(body, Mapping):
            body = next((body[name] for name in BODY if name in body), text)
        if isinstance(body, str) or _is_list(body, int):
            return body
        return json.dumps(body) if isinstance(body, list) else ""
    except (ValueError, RecursionError):
        return text


def _is_list(value: Any, kind: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)
