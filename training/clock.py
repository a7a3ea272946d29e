"""The process's beginning, noted before the slow imports: what a budget counts from."""

import time

STARTED = time.monotonic()


def running() -> float:
    """Seconds since then."""
    return time.monotonic() - STARTED
