"""Blocks of a prompt: how many tokens a trace's block holds, and what a prefix cache has of each prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from simlib.checks import InputError, check_integer, check_type
from simlib.lazy import pd
from simlib.requests.sequences import Sequences, narrow

SIZES = tuple(2**power for power in range(13))  # what engines and traces are seen with
ENGINE_BLOCK_TOKENS = 16
MOST_TOKENS = 2**31  # of a block; more than a prompt has


def tokens_of(source: str, counts: np.ndarray, prompts: np.ndarray, convention: int | None = None) -> int:
    """Tokens of a block, from the number of blocks that each prompt has.

    Parameters
    ----------
    source : str
        The file, for messages.
    counts, prompts : ndarray of int, shape (n_requests,)
        Blocks, and length of the prompt in tokens. Either all prompts have a name for their last block, full or not,
        or none has for one that is not full.
    convention : int, optional
        The format's size, taken where the rows leave several possible.

    Raises
    ------
    InputError
        If no size fits all rows (the first that does not fit the size that most of them have), or several do.

    Examples
    --------
    >>> tokens_of("trace.jsonl", np.array([55, 49]), np.array([878, 782]))
    16
    """
    for low, high in (_sizes_with_last(counts, prompts), _sizes_of_full(counts, prompts)):
        if convention is not None and low <= convention <= high:
            return convention
        usual = [size for size in SIZES if low <= size <= high]
        if len(usual) == 1 or low == high:
            return usual[0] if usual else int(low)
        if low < high:
            raise InputError(
                f"{source}, hash_ids: blocks of {low:.0f} to {high:.0f} tokens all fit (expected rows that leave one "
                "size; the option --block-tokens, block_tokens= in Python, says which)"
            )
    telling = counts > 1  # one block fits every large size
    most = max(SIZES, key=lambda size: ((counts == -(-prompts // size))[telling].sum(), size == convention))
    if convention is not None and 2 * (counts == -(-prompts // most))[telling].sum() <= telling.sum():
        most = convention
    check_counts(source, counts, prompts, most)
    row = int(np.argmax(counts != -(-prompts // most)))  # full blocks alone in some rows, and not in others
    raise _impossible(source, row, counts, prompts, most)


def check_counts(source: str, counts: np.ndarray, prompts: np.ndarray, block_tokens: int) -> None:
    """Refuse the first prompt that has not the blocks that its length asks for."""
    bad = (counts != -(-prompts // block_tokens)) & (counts != prompts // block_tokens)
    if bad.any():
        raise _impossible(source, int(np.argmax(bad)), counts, prompts, block_tokens)


def _sizes_with_last(counts: np.ndarray, prompts: np.ndarray) -> tuple[float, float]:
    """The least and the largest size of block at which every prompt, its last block included, has its number."""
    if ((counts == 0) != (prompts == 0)).any():
        return np.inf, -np.inf
    some, more = counts > 0, counts > 1
    low = (-(-prompts[some] // counts[some])).max(initial=1)
    return float(low), float((-(-prompts[more] // (counts[more] - 1)) - 1).min(initial=MOST_TOKENS))


def _sizes_of_full(counts: np.ndarray, prompts: np.ndarray) -> tuple[float, float]:
    """The same where only full blocks have a name."""
    some = counts > 0
    low = (prompts // (counts + 1) + 1).max(initial=1)
    return float(low), float((prompts[some] // counts[some]).min(initial=MOST_TOKENS))


def _impossible(source: str, row: int, counts: np.ndarray, prompts: np.ndarray, block_tokens: int) -> InputError:
    return InputError(
        f"{source}, row {row}, hash_ids: {counts[row]} blocks for {prompts[row]} tokens (expected "
        f"{-(-int(prompts[row]) // block_tokens)}, at {block_tokens} tokens a block)"
    )


def names_of(token_ids: Iterable[Sequence[int] | str], block_tokens: int) -> list[list[int]]:
    """Names of the full blocks of prompts whose tokens, or letters, are known; equal ones are of equal tokens, prefix
    included.

    Examples
    --------
    >>> names_of([[1, 2, 3, 4, 5], [1, 2, 9, 9], [9, 9]], 2)
    [[0, 1], [0, 2], [3]]
    """
    known: dict[tuple[int | None, tuple[int, ...] | str], int] = {}
    named = []
    for tokens in token_ids:
        blocks, before = [], None
        for start in range(0, len(tokens) - block_tokens + 1, block_tokens):
            block = tokens[start : start + block_tokens]
            block = block if isinstance(block, str) else tuple(block)
            before = known.setdefault((before, block), len(known))
            blocks.append(before)
        named.append(blocks)
    return named


def cached_prefix_tokens(
    hash_ids: Sequence[Sequence[Hashable]],
    prompt_tokens: Sequence[int],
    cache_blocks: int | None = None,
    block_tokens: int = 512,
    engine_block_tokens: int = ENGINE_BLOCK_TOKENS,
) -> np.ndarray:
    """Prompt tokens of each request that a prefix cache holds when it arrives; least recently used blocks go first.

    Parameters
    ----------
    hash_ids : sequence of sequences
        For each request, in order of arrival, the names of its prompt's blocks from the first on; equal names mean
        equal content, prefix included.
    prompt_tokens : sequence of int, shape (n_requests,)
        Prompt lengths in tokens.
    cache_blocks : int, optional
        Blocks that the cache holds, >= 0; default no limit: every block seen once stays.
    block_tokens : int
        Tokens in a block of the trace, >= 1.
    engine_block_tokens : int
        Tokens in a block of the engine, >= 1.

    Returns
    -------
    ndarray of int, shape (n_requests,)
        Length of the leading run of full blocks that are cached, in tokens, whole blocks of the engine's and less than
        the prompt: an engine shares full blocks only, and computes a prompt's last token always.

    Raises
    ------
    InputError
        If an argument is out of range or the two sequences differ in length.

    Notes
    -----
    A request's blocks are touched from the last to the first, as serving engines free them: what is evicted first is
    the end of a prompt, never the prefix that its end is worth nothing without. Blocks are there from the arrival of
    the request that brings them, its prefill taken as done.

    Examples
    --------
    >>> cached_prefix_tokens([[1, 2], [1, 2, 3], [4], [1, 3]], [1024, 1500, 100, 700], cache_blocks=3).tolist()
    [0, 1024, 0, 512]
    """
    block_tokens = check_integer("block_tokens", block_tokens, 1)
    engine_block_tokens = check_integer("engine_block_tokens", engine_block_tokens, 1)
    capacity = np.inf if cache_blocks is None else check_integer("cache_blocks", cache_blocks, 0)
    for name, given in (("hash_ids", hash_ids), ("prompt_tokens", prompt_tokens)):
        check_type(name, given, (Sequence, np.ndarray), "a sequence, one element a request")
    if len(hash_ids) != len(prompt_tokens):
        raise InputError(f"hash_ids: {len(hash_ids)} rows (expected {len(prompt_tokens)}, as in prompt_tokens)")
    prompts = [check_integer(f"prompt_tokens, row {row}", prompt, 0) for row, prompt in enumerate(prompt_tokens)]
    cache: OrderedDict[Hashable, None] = OrderedDict()
    cached_tokens = np.zeros(len(hash_ids), dtype=np.int64)
    for row, (given, prompt) in enumerate(zip(hash_ids, prompts, strict=True)):
        blocks = _blocks(row, given)
        leading = next((i for i, block in enumerate(blocks) if block not in cache), len(blocks))
        held = min(leading, prompt // block_tokens) * block_tokens
        cached_tokens[row] = max(min(held, prompt - 1), 0) // engine_block_tokens * engine_block_tokens
        if capacity == np.inf:
            cache.update(dict.fromkeys(blocks))
            continue
        for block in reversed(blocks):
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return cached_tokens


def engine_blocks(
    hash_ids: Sequence[Sequence[Hashable]], prompts: np.ndarray, block_tokens: int, engine_block_tokens: int
) -> Sequences:
    """What the blocks of an engine contain, of prompts whose blocks a trace names: a request table's `block_ids`.

    Parameters
    ----------
    hash_ids, block_tokens
        As in `cached_prefix_tokens`; each prompt has a name for all of its full blocks at least.
    prompts : ndarray of int, shape (n_requests,)
        Prompt lengths in tokens.
    engine_block_tokens : int
        Tokens in a block of the engine; smaller or larger than one of the trace, or no multiple of it.

    Returns
    -------
    Sequences
        Numbers of the full blocks of each prompt. Two are equal where the trace says that their tokens and all before
        them are; behind the last full block of the trace, where it says nothing of single tokens, none is.

    Examples
    --------
    >>> column = engine_blocks([[7, 8], [7, 9]], np.array([10, 8]), 4, 2)
    >>> [row.tolist() for row in column]
    [[0, 1, 2, 3, 6], [0, 1, 4, 5]]
    """
    full = prompts // block_tokens
    names = [name for names, count in zip(hash_ids, full, strict=True) for name in names[:count]]
    codes = pd.factorize(np.array([*names, None], dtype=object)[:-1])[0]
    trace = Sequences(np.append(0, np.cumsum(full)), codes).chained()
    counts = prompts // engine_block_tokens
    first, row = np.append(0, np.cumsum(counts)), np.repeat(np.arange(len(prompts)), counts)
    place = np.arange(first[-1]) - first[row]
    last = ((place + 1) * engine_block_tokens - 1) // block_tokens  # the trace's block that has its last token
    said = last < full[row]
    each = -(-block_tokens // engine_block_tokens) + (
        block_tokens % engine_block_tokens > 0
    )  # that end in one, at most
    within = place - last * block_tokens // engine_block_tokens
    found = np.empty(len(place), np.int64)
    found[said] = trace.flat[trace.first[row[said]] + last[said]] * each + within[said]
    found[~said] = (trace.flat.max(initial=-1) + 1) * each + np.arange(np.count_nonzero(~said))
    return Sequences(first, narrow(found))


def shared_in_part(hash_ids: Sequence[Sequence[Hashable]], prompts: np.ndarray, block_tokens: int) -> int:
    """How many requests name a last block, not full, that one before them named: equal content, and no hit."""
    seen: set[Hashable] = set()
    count = 0
    for blocks, prompt in zip(hash_ids, prompts, strict=True):
        count += len(blocks) > prompt // block_tokens and blocks[-1] in seen
        seen.update(blocks)
    return count


def _blocks(row: int, given: Sequence[Hashable]) -> tuple[Hashable, ...]:
    try:
        hash(blocks := tuple(given))
    except TypeError:
        raise InputError(f"hash_ids, row {row}: {given!r} (expected a sequence of names or numbers)") from None
    return blocks
