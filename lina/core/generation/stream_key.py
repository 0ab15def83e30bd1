"""Keys of streams for ``lina.core.generation.counter_random``. Imports no torch."""

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, odd."""
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Multipliers of SplitMix64."""
WORD = 2**64


def stream_key(seed: int, *places: int) -> int:
    """The key of a stream, a signed 64-bit number: a function of the seed and its places, such as text and sentence."""
    key = _mix(seed % 2**63)
    for place in places:
        key = _mix((key + (place + 1) * GOLDEN) % WORD)
    return key - WORD if key >= WORD // 2 else key


def _mix(bits: int) -> int:
    bits = (bits ^ bits >> 30) * FIRST % WORD
    bits = (bits ^ bits >> 27) * SECOND % WORD
    return bits ^ bits >> 31
