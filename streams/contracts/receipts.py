"""Receipts: the name of one accepted post, and how it is known afterwards that it was answered.

A receipt is 32 hexadecimal digits: 20 that an ingest process draws when it starts (its *instance*) and 12 that count
its posts. A post is answered once all its chunks are durable; an instance then tells, now and then and for many posts
at once, that everything up to a number was answered, except some that it *abandoned* (their senders were told to try
again). What is neither told of nor complete was never answered: its process ended before that.
"""

import secrets

INSTANCE_DIGITS = 20
SEQUENCE_DIGITS = 12


def draw_instance() -> str:
    """Draw the name of one run of an ingest process: 20 hexadecimal digits."""
    return secrets.token_hex(INSTANCE_DIGITS // 2)


def receipt(instance: str, sequence: int) -> str:
    """Name the post with this number, counted from 1, of an instance."""
    return f"{instance}{sequence:0{SEQUENCE_DIGITS}x}"
