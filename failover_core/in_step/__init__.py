"""Stores that hold the same items, each in its own way: what one could not take, it is owed.

The stores of a pair are indexes of two embedding models. A change goes to each of them; where it
fails, it is kept, and made before the next one. So a store that was away comes back into step
with the others, in the order of the changes, however often it fails.
"""

from __future__ import annotations

from failover_core.in_step.changes import Addition, Change, Holder, Removal
from failover_core.in_step.pair import InStep
from failover_core.in_step.steps import Step, Steps

__all__ = ["Addition", "Change", "Holder", "InStep", "Removal", "Step", "Steps"]
