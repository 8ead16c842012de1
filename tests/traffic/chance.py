"""Seeded chance: the same words draw the same numbers on every machine."""

import random


def chance(*words: object) -> random.Random:
    """Make a source of random numbers that depends on these words alone."""
    return random.Random(":".join(map(str, words)))  # noqa: S311 - test data, no secrets
