"""What steps cost, from kernels alone: shared or apart, where both cost the same, and what a closed form says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.prefill_modes.kernels import MEASURED_DECODES, SYSTEMS, law_of, step_s
from simlib.checks import check_integer, check_number
from simlib.latency.kernel_profile import ProfileLaw

if TYPE_CHECKING:
    import pandas as pd

STEP_DECODES = (8, 16, 32, 64, 128)
STEP_CONTEXTS = (256, 512, 1024, 2048)
STEP_CHUNKS = (64, 128, 256, 512, 1024, 1792)
SHARES = tuple(round(0.02 * n, 2) for n in range(1, 50))


def step_ratios(kernels: pd.DataFrame) -> pd.DataFrame:
    """A mixed step over a step of the chunk and one of the decodes, where the cache holds as many tokens.

    Returns
    -------
    pandas.DataFrame
        ``system, chunk_tokens, decodes, context_tokens, share, held_tokens, ratio, apart``; `share` is that of decodes
        in the step's tokens, `apart` the ratio if neither disturbed the other.
    """
    import pandas as pd

    rows = []
    for system, own in SYSTEMS.items():
        law, apart = law_of(kernels, system), law_of(kernels, system, apart=True)
        for decodes in STEP_DECODES:
            for context in STEP_CONTEXTS:
                if decodes * context > own.kv_tokens:
                    continue
                for chunk in STEP_CHUNKS:
                    parts_s = step_s(law, decodes, context) + step_s(law, 0, 0, chunk)
                    place = {"system": system, "chunk_tokens": chunk, "decodes": decodes, "context_tokens": context}
                    both = (step_s(each, decodes, context, chunk) / parts_s for each in (law, apart))
                    rows.append(
                        place
                        | {"share": decodes / (decodes + chunk), "held_tokens": decodes * context}
                        | dict(zip(("ratio", "apart"), both, strict=True))
                    )
    return pd.DataFrame(rows)


def break_even(kernels: pd.DataFrame) -> pd.DataFrame:
    """From how many decodes on a mixed step takes longer than its two parts, by chunk and context.

    Returns
    -------
    pandas.DataFrame
        ``system, chunk_tokens, context_tokens, decodes, share, held_tokens, fits``; missing where no step that was
        measured takes longer. `fits` says whether the cache holds as many tokens.
    """
    import pandas as pd

    rows = []
    for system, own in SYSTEMS.items():
        law = law_of(kernels, system)
        for context in STEP_CONTEXTS:
            for chunk in STEP_CHUNKS:
                chunk_s, decodes = step_s(law, 0, 0, chunk), math.nan
                for number in range(1, MEASURED_DECODES + 1):
                    if step_s(law, number, context, chunk) > step_s(law, number, context) + chunk_s:
                        decodes = float(number)
                        break
                rows.append(
                    {"system": system, "chunk_tokens": chunk, "context_tokens": context, "decodes": decodes}
                    | {"share": decodes / (decodes + chunk), "held_tokens": decodes * context}
                    | {"fits": decodes * context <= own.kv_tokens}
                )
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class Line:
    """A step's time as a straight line: seconds, and seconds a token."""

    fixed_s: float
    token_s: float


def line_of(law: ProfileLaw, share: float, context_tokens: float) -> Line:
    """The line through steps whose tokens are decodes by this share, of 16 to as many decodes as were measured.

    Parameters
    ----------
    share : float
        In [0, 1]; 0: chunks of 256 tokens and more, alone.
    """
    share = check_number("share", share, 0.0, 1.0)
    if share == 0.0:
        tokens = np.array([256.0, 512.0, 1024.0, 2048.0])
        times_s = [step_s(law, 0, 0, chunk) for chunk in tokens]
    else:
        decodes = np.array([16.0, 32.0, 48.0, 64.0, 96.0, 128.0])
        tokens = decodes / share
        times_s = [step_s(law, n, context_tokens, all_ - n) for n, all_ in zip(decodes, tokens, strict=True)]
    token_s, fixed_s = np.polyfit(tokens, times_s, 1)
    return Line(float(fixed_s), float(token_s))


def marginal(kernels: pd.DataFrame) -> pd.DataFrame:
    """From which share of decodes on a mixed step's token costs more than a decode among decodes, by context.

    Returns
    -------
    pandas.DataFrame
        ``system, context_tokens, share``: the least share from which all higher ones cost more.
    """
    import pandas as pd

    rows = []
    for system in SYSTEMS:
        law = law_of(kernels, system)
        for context in STEP_CONTEXTS:
            alone_s = line_of(law, 1.0, context).token_s
            less = [share for share in SHARES if line_of(law, share, context).token_s <= alone_s]
            rows.append({"system": system, "context_tokens": context, "share": max(less, default=0.0)})
    return pd.DataFrame(rows)


def told_ratio(law: ProfileLaw, seats: int, prompt_tokens: float, output_tokens: float) -> float:
    """The paper's closed form: exclusive steps' throughput over mixed ones', lines fitted to the kernels.

    Outputs are geometric, the cache never scarce, each mixed step has the traffic's share of decodes.
    """
    from scipy.optimize import brentq

    seats = check_integer("seats", seats, 2)
    context, ends = prompt_tokens + output_tokens, 1.0 / output_tokens
    prompts, decodes = line_of(law, 0.0, context), line_of(law, 1.0, context)
    mixed = line_of(law, output_tokens / context, context)
    worth = ends * max(prompts.fixed_s, 1e-9) / decodes.fixed_s
    freed = brentq(lambda share: share / (1 - share) + math.log1p(-share) - worth, 1e-9, 1 - 1e-9)
    prompts_each = max(freed * seats, 1.0)
    cycle = prompts.fixed_s - decodes.fixed_s * math.log1p(-prompts_each / seats) * output_tokens
    exclusive_s = cycle / prompts_each + prompts.token_s * prompt_tokens + decodes.token_s * output_tokens
    mixed_s = mixed.fixed_s * (1 + output_tokens) / seats + mixed.token_s * context
    return mixed_s / exclusive_s
