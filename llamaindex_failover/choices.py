"""What a caller chooses for one call of a class whose methods take no further arguments."""

from __future__ import annotations

from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    active_instrument_tags,
)

from failover_core import Router
from failover_core.engine.call import Call

PREFERENCE = "failover"
"""The instrument tag that names the target to try first, of every pool that has it."""


def begin(router: Router) -> Call:
    """Begin a call on the target that LlamaIndex's tags prefer, else on the strategy's choice.

    Tags are set around calls, and go with them through tasks, threads and whole engines::

        with instrument_tags({"failover": "backup"}):
            engine.query("…")
    """
    name = active_instrument_tags.get().get(PREFERENCE)
    if name is not None and any(target.name == name for target in router.targets):
        return router.begin(preferred_target=name)
    return router.begin()
