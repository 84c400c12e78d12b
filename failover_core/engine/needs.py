"""What one call needs of its target."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypedDict

from failover_core.errors import ConfigurationError
from failover_core.targets import Capability, Target, capabilities

if TYPE_CHECKING:
    from failover_core.engine.target_state import TargetState


class CallOptions(TypedDict, total=False):
    """What may be said of a single call, at every door of a router.

    Attributes:
        tokens: that it will use, estimated. Targets whose context window or token limit has no
            room for them are passed over. Default: 0, for nobody knows.
        requires: capabilities that its target must have (see ``Capability``). Default: none.
        preferred_target: name of the target to try first, whatever the strategy says.
        spread: whether it is one of many that are sent at once and may be answered by any: then
            the target with the fewest attempts under way comes first. Default: no.
        among: names of the targets that may serve it. Default: all.
        deadline: instant of the pool's clock at which it is over, instead of after the policy's
            ``total_timeout``: for several calls that make up one piece of work.
    """

    tokens: int
    requires: Collection[str]
    preferred_target: str | None
    spread: bool
    among: Collection[str] | None
    deadline: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What one call needs of its target; see ``CallOptions``."""

    tokens: int = 0
    requires: frozenset[Capability] = frozenset()
    preferred_target: str | None = None
    spread: bool = False
    among: frozenset[str] | None = None
    deadline: float | None = None

    @classmethod
    def of(cls, options: CallOptions) -> Self:
        """Return the needs of a call.

        Raises:
            ConfigurationError: the tokens are negative, or a capability is unknown.
        """
        tokens = options.get("tokens", 0)
        if tokens < 0:
            message = f"tokens is {tokens}; it must be zero or more"
            raise ConfigurationError(message)
        requires = capabilities(options.get("requires", ()), field="requires")
        among = options.get("among")
        return cls(
            tokens,
            requires,
            options.get("preferred_target"),
            spread=options.get("spread", False),
            among=None if among is None else frozenset(among),
            deadline=options.get("deadline"),
        )

    def candidates(self, states: Iterable[TargetState]) -> list[TargetState]:
        """Return those of targets that the call was meant for."""
        return [state for state in states if self.among is None or state.target.name in self.among]

    def admits(self, target: Target) -> bool:
        """Return whether a target is meant, and has what the call requires."""
        if self.among is not None and target.name not in self.among:
            return False
        return not (self.requires and self.missing(target))

    def missing(self, target: Target) -> Collection[Capability]:
        """Return the capabilities that a target lacks."""
        if target.supports is None:
            return self.requires & {Capability.PREFILL}
        return self.requires.difference(target.supports)

    def window_among(self, states: Iterable[TargetState]) -> int:
        """Return the context window that a target must not fall below; 0 if none has that much.

        The number of tokens is an estimate: then the servers have the last word.
        """
        windows = (state.target.context_window for state in states)
        return self.tokens if any(w is None or w >= self.tokens for w in windows) else 0


NOTHING = Needs()
