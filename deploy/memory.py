"""How a process that lives long uses Python's garbage collector."""

import gc

COLLECT_AFTER = (50_000, 20, 20)
"""Thresholds of the garbage collector's generations, see `gc.set_threshold`."""


def settle_memory() -> None:
    """Let the garbage collector leave alone what lives as long as the process, and look rarely for the rest.

    To be called when everything is started. A chunk, or a request, makes thousands of objects and frees them by
    counting references; with Python's own threshold of 700 the collector would go through them a dozen times a chunk
    and find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
