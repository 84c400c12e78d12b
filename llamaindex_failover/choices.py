"""What a caller chooses for the calls of whole engines, whose parts take no further arguments."""

from __future__ import annotations

from typing import Unpack

from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    active_instrument_tags,
)

from failover_core import Router
from failover_core.engine.call import Call
from failover_core.engine.needs import CallOptions

PREFERENCE = "failover"
"""The instrument tag that names the target to try first, of every pool that has it."""


def begin(router: Router, **options: Unpack[CallOptions]) -> Call:
    """Begin a call, on the target that LlamaIndex's tags prefer unless the options name one.

    Tags are set around calls, and go with them through tasks, threads and whole engines::

        with instrument_tags({"failover": "backup"}):
            engine.query("…")
    """
    if chosen := preferred(router):
        options.setdefault("preferred_target", chosen)
    return router.begin(**options)


def preferred(router: Router) -> str | None:
    """Return the name of the target that LlamaIndex's tags want tried first."""
    name = active_instrument_tags.get().get(PREFERENCE)
    return name if any(target.name == name for target in router.targets) else None
