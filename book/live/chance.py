"""Random numbers as NumPy draws them, as kernels: its legacy Mersenne Twister and, of a stream, PCG64DXSM.

Equal to NumPy's to the last bit where its own functions are given; tails go through `log1p` and `exp`, whose last digit
is a matter of the platform. Sources: Matsumoto and Nishimura (1998); O'Neill's PCG with the DXSM output; Marsaglia and
Tsang's ziggurat (2000) and gamma rejection (2000), with NumPy's tables.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba.np.random import _constants as tables  # NumPy's own, which numba repeats

WORDS, MIDDLE = 624, 397
LOW_32, BITS_52 = np.uint64(0xFFFFFFFF), np.uint64(0x000FFFFFFFFFFFFF)
ONE, THREE, EIGHT, ELEVEN, HALF_WORD, LATE = (np.uint64(bits) for bits in (1, 3, 8, 11, 32, 48))
BYTE, MULTIPLIER = np.uint64(0xFF), np.uint64(0xDA942042E4DD58B5)
UNIT = 1.0 / 9007199254740992.0
EXP_K, EXP_W, EXP_F = (np.array(table) for table in (tables.ke_double, tables.we_double, tables.fe_double))
NORMAL_K, NORMAL_W, NORMAL_F = (np.array(table) for table in (tables.ki_double, tables.wi_double, tables.fi_double))
EXP_R = float(tables.ziggurat_exp_r)
NORMAL_R, NORMAL_INVERSE_R = float(tables.ziggurat_nor_r), float(tables.ziggurat_nor_inv_r)


class Twister(NamedTuple):
    """A Mersenne Twister: its words and behind them the place of the next one; the spare normal, if there is one."""

    words: np.ndarray
    spare: np.ndarray


def twister(seed: int) -> Twister:
    """Kernel: as `numpy.random.RandomState` starts from a seed."""
    words = np.empty(WORDS + 1, np.int64)
    word = seed & 0xFFFFFFFF
    for place in range(WORDS):
        words[place] = word
        word = (1812433253 * (word ^ (word >> 30)) + place + 1) & 0xFFFFFFFF
    words[WORDS] = WORDS
    return Twister(words, np.zeros(2))


def word_of(source: Twister) -> int:
    """Kernel: the next 32 bits."""
    words = source.words
    if words[WORDS] == WORDS:
        for place in range(WORDS):
            after = place + 1 if place + 1 < WORDS else 0
            mixed = (words[place] & 0x80000000) | (words[after] & 0x7FFFFFFF)
            middle = place + MIDDLE if place + MIDDLE < WORDS else place + MIDDLE - WORDS
            words[place] = words[middle] ^ (mixed >> 1) ^ (0x9908B0DF if mixed & 1 else 0)
        words[WORDS] = 0
    word = words[words[WORDS]]
    words[WORDS] += 1
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C5680
    word ^= (word << 15) & 0xEFC60000
    return word ^ (word >> 18)


def legacy_uniform(source: Twister) -> float:
    """Kernel: ``RandomState.random_sample``."""
    high, low = word_of(source) >> 5, word_of(source) >> 6
    return (high * 67108864.0 + low) / 9007199254740992.0


def legacy_exponential(source: Twister) -> float:
    """Kernel: ``RandomState.standard_exponential``."""
    return -math.log(1.0 - legacy_uniform(source))


def legacy_normal(source: Twister) -> float:
    """Kernel: ``RandomState.standard_normal``, by the polar method, which makes two at a time."""
    if source.spare[0] > 0.0:
        source.spare[0] = 0.0
        return source.spare[1]
    square = 0.0
    first = second = 0.0
    while square >= 1.0 or square == 0.0:
        first = 2.0 * legacy_uniform(source) - 1.0
        second = 2.0 * legacy_uniform(source) - 1.0
        square = first * first + second * second
    factor = math.sqrt(-2.0 * math.log(square) / square)
    source.spare[0], source.spare[1] = 1.0, factor * first
    return factor * second


def legacy_gamma(shape: float, source: Twister) -> float:
    """Kernel: ``RandomState.standard_gamma`` of a shape above 1."""
    base = shape - 1.0 / 3.0
    scale = 1.0 / math.sqrt(9.0 * base)
    while True:
        normal = legacy_normal(source)
        cube = 1.0 + scale * normal
        while cube <= 0.0:
            normal = legacy_normal(source)
            cube = 1.0 + scale * normal
        cube = cube * cube * cube
        uniform = legacy_uniform(source)
        if uniform < 1.0 - 0.0331 * (normal * normal) * (normal * normal):
            return base * cube
        if math.log(uniform) < 0.5 * normal * normal + base * (1.0 - cube + math.log(cube)):
            return base * cube


def high_of(one: np.uint64, other: np.uint64) -> np.uint64:
    """Kernel: the upper half of a product of two words of 64 bits."""
    one_high, one_low, other_high, other_low = one >> HALF_WORD, one & LOW_32, other >> HALF_WORD, other & LOW_32
    low, first, second = one_low * other_low, one_high * other_low, one_low * other_high
    carried = (low >> HALF_WORD) + (first & LOW_32) + (second & LOW_32)
    return one_high * other_high + (first >> HALF_WORD) + (second >> HALF_WORD) + (carried >> HALF_WORD)


def next_word(stream: np.ndarray) -> np.uint64:
    """Kernel: the next 64 bits of a PCG64DXSM; `stream` is its state and its increment, each high and low."""
    high, low = stream[0], stream[1]
    word = high ^ (high >> HALF_WORD)
    word *= MULTIPLIER
    word ^= word >> LATE
    word *= low | ONE
    next_low = low * MULTIPLIER + stream[3]
    stream[0] = high * MULTIPLIER + high_of(low, MULTIPLIER) + stream[2]
    if next_low < stream[3]:
        stream[0] += ONE
    stream[1] = next_low
    return word


def uniform(stream: np.ndarray) -> float:
    """Kernel: ``Generator.random``."""
    return float(next_word(stream) >> ELEVEN) * UNIT


def exponential(stream: np.ndarray) -> float:
    """Kernel: ``Generator.standard_exponential``."""
    while True:
        word = next_word(stream) >> THREE
        place, word = int(word & BYTE), word >> EIGHT
        value = float(word) * EXP_W[place]
        if word < EXP_K[place]:
            return value
        if place == 0:
            return EXP_R - math.log1p(-uniform(stream))
        if (EXP_F[place - 1] - EXP_F[place]) * uniform(stream) + EXP_F[place] < math.exp(-value):
            return value


def normal(stream: np.ndarray) -> float:
    """Kernel: ``Generator.standard_normal``."""
    while True:
        word = next_word(stream)
        place, word = int(word & BYTE), word >> EIGHT
        size = (word >> ONE) & BITS_52
        value = float(size) * NORMAL_W[place]
        if word & ONE:
            value = -value
        if size < NORMAL_K[place]:
            return value
        if place == 0:
            while True:
                beyond = -NORMAL_INVERSE_R * math.log1p(-uniform(stream))
                if -2.0 * math.log1p(-uniform(stream)) > beyond * beyond:
                    return -(NORMAL_R + beyond) if (size >> EIGHT) & ONE else NORMAL_R + beyond
        elif (NORMAL_F[place - 1] - NORMAL_F[place]) * uniform(stream) + NORMAL_F[place] < math.exp(
            -0.5 * value * value
        ):
            return value


def below(limit: int, stream: np.ndarray) -> int:
    """Kernel: ``Generator.integers`` of a limit below 2**32, as the first that is drawn."""
    while True:  # numpy would take the other half of the word next
        product = int(next_word(stream) & LOW_32) * limit
        if product & 0xFFFFFFFF >= ((1 << 32) - limit) % limit:
            return product >> 32
