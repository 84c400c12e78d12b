"""What a fault is, and how one is called by its name."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from failover_core.errors import ConfigurationError

if TYPE_CHECKING:
    from failover_core.testing.exchange import Exchange
    from failover_core.testing.framing import Reply


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which a server misbehaves, from the next request on.

    A fault that does not fit an answer (a broken stream, where the answer is none) leaves that
    answer as it is. Every fault has a name, its class's in lower case with underscores, by which
    the command line and the control endpoint know it.
    """

    registry: ClassVar[dict[str, type[Fault]]] = {}

    def __init_subclass__(cls) -> None:
        if not cls.__name__.startswith("_"):
            Fault.registry[cls.name()] = cls

    @classmethod
    def name(cls) -> str:
        """Return the name: ``RetryAfter`` is ``retry_after``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z0-9])", "_", cls.__name__).lower()

    @staticmethod
    def named(name: str, **settings: Any) -> Fault:
        """Build a fault from its name and settings: ``Fault.named("status", code=429)``.

        Raises:
            ConfigurationError: no fault has that name, or it has no such setting.
        """
        kind = Fault.registry.get(name)
        if kind is None:
            message = f"fault: {name!r} is unknown; known: {', '.join(sorted(Fault.registry))}"
            raise ConfigurationError(message)
        known = [field.name for field in dataclasses.fields(kind)]
        if unknown := settings.keys() - set(known):
            message = f"fault {name}: unknown setting {min(unknown)!r}; known: {', '.join(known)}"
            raise ConfigurationError(message)
        if isinstance(inner := settings.get("fault"), str):
            settings["fault"] = Fault.parse(inner)
        return kind(**settings)

    @staticmethod
    def parse(text: str) -> Fault:
        """Build a fault from a command line's word: ``status:code=429`` or ``slow:seconds=2``."""
        name, _, rest = text.partition(":")
        pairs = (pair.partition("=") for pair in rest.split(",") if pair)
        return Fault.named(name, **{key: _value(value) for key, _, value in pairs})

    async def play(self, exchange: Exchange) -> None:
        """Answer the request as this fault does."""
        await exchange.send(self.spoil(exchange.reply))

    def spoil(self, reply: Reply) -> Reply:
        """Return the healthy answer, spoilt."""
        return reply


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
