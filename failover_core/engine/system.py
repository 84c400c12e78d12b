"""The real clock and real chance."""

from __future__ import annotations

import asyncio
import random
import time


class SystemClock:
    """The operating system's clocks."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)
    asleep = staticmethod(asyncio.sleep)


def system_dice() -> random.Random:
    """Return a random source of its own, so that seeding the global one changes nothing here."""
    return random.Random()  # noqa: S311 - jitter, no secret
