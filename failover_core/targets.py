"""Targets: the places a call can go to."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import StrEnum
from typing import Any, NoReturn

from pydantic import BaseModel

from failover_core.errors import ConfigurationError
from failover_core.policy import FailoverPolicy

_MODEL_FIELDS = ("model_name", "model", "model_id")
_NO_MODEL = "unknown"
"""What LlamaIndex calls a model without a name."""


class Capability(StrEnum):
    """What a call may need that not every target has."""

    TOOLS = "tools"
    STRUCTURED_OUTPUT = "structured_output"
    IMAGES = "images"
    PREFILL = "prefill"
    """Continuing a text that it is given as the beginning of its own answer. The one word that
    a target without ``supports`` does not have."""


def capabilities(words: Collection[str], *, field: str) -> frozenset[Capability]:
    """Return capabilities by their words; one word alone will do.

    Raises:
        ConfigurationError: one of them, in the named field, is unknown.
    """
    given = (words,) if isinstance(words, str) else words
    known = [str(word) for word in Capability]
    for word in given:
        if word not in known:
            message = f"{field}: there is no capability {word!r}; known: {', '.join(known)}"
            raise ConfigurationError(message)
    return frozenset(map(Capability, given))


@dataclass(frozen=True, slots=True)
class Price:
    """What a target's tokens cost, in any one currency for each million of them."""

    input: float
    output: float = 0.0

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                message = f"Price: {name} is {value!r}; it must be a number of zero or more"
                raise ConfigurationError(message)

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return what so many tokens cost."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Target:
    """One place that can serve a call: the client of a URL or of a key, or a model object.

    A limit is never exceeded: a call that would do so goes to another target, or waits if no
    other is left.

    Args:
        client: the object that serves; a router hands it to the function it runs.
        name: what events, errors and the status call the target. Default: the client's own
            ``name``, else its model's name, else the name of its class.
        weight: share of the calls under the strategy ``"weighted"``.
        max_concurrency: attempts at one time.
        requests_per_minute: attempts a minute; as many may come at once.
        requests_per_day: attempts in any 24 hours.
        tokens_per_minute: input and output tokens a minute. A call is let through by what it is
            expected to need (its ``tokens``), and charged for what it then used.
        price: per million input and output tokens: a ``Price``, or the two numbers.
        spend_limit: most that the target may cost in 24 hours, in the unit of ``price``.
        supports: the capabilities it has (see ``Capability``). None: every one but ``prefill``.
        context_window: largest input in tokens. A call that says how many ``tokens`` it has goes
            to a target with room for them; an input that was too large for one target moves on
            only to targets that declare a larger window.
        attempt_timeout: longest attempt at this target in seconds, instead of the policy's.
        probe: asks the target for its health, instead of ``ProbePolicy.check``.
        warmup: longest time in seconds that the target needs to boot or to load its model. While
            it says so (or refuses connections) it is passed over, but not blamed.
        wake: called with the client, in a thread of its own, when a warm-up begins: for a server
            that must be started first.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    client: Any
    _: KW_ONLY
    name: str | None = None
    weight: float = 1.0
    max_concurrency: int | None = None
    requests_per_minute: float | None = None
    requests_per_day: int | None = None
    tokens_per_minute: float | None = None
    price: Price | tuple[float, float] | None = None
    spend_limit: float | None = None
    supports: Collection[str] | None = None
    context_window: int | None = None
    attempt_timeout: float | None = None
    probe: Callable[[Any], Any] | None = None
    warmup: float | None = None
    wake: Callable[[Any], Any] | None = None
    _model_field: str | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Every answer names the model, and objects can be slow to say what they do not have.
        object.__setattr__(self, "_model_field", _model_field_of(self.client))
        name: Any = self.name
        if name is not None and not (isinstance(name, str) and name.strip()):
            message = f"Target: name is {name!r}; give it some text, or leave it out"
            raise ConfigurationError(message)
        for setting in _POSITIVE:
            value = getattr(self, setting)
            if not (_is_number(value) and value > 0) and (value is not None or setting == "weight"):
                or_none = "" if setting == "weight" else ", or None"
                self._refuse(setting, value, f"it must be a finite number above zero{or_none}")
        for setting in ("probe", "wake"):
            function = getattr(self, setting)
            if function is not None and not callable(function):
                self._refuse(setting, function, "it must be a function of the client")
        if self.wake is not None and self.warmup is None:
            self._refuse("wake", self.wake, "it needs a warmup, which says how long that may take")
        object.__setattr__(self, "price", self._read_price())
        if self.spend_limit is not None and self.price is None:
            self._refuse("spend_limit", self.spend_limit, "it needs a price to count with")
        if self.supports is not None:
            where = f"Target {self.label!r}: supports"
            object.__setattr__(self, "supports", capabilities(self.supports, field=where))

    def _read_price(self) -> Price | None:
        given: Any = self.price
        if given is None or isinstance(given, Price):
            return given
        try:
            return Price(*given)
        except (TypeError, ConfigurationError):
            self._refuse("price", given, "give (input, output), each a number of zero or more")

    def _refuse(self, field: str, value: object, remedy: str) -> NoReturn:
        message = f"Target {self.label!r}: {field} is {value!r}; {remedy}"
        raise ConfigurationError(message)

    @property
    def priced(self) -> Price | None:
        """The price, if it costs anything."""
        price = self.price
        return price if isinstance(price, Price) and (price.input or price.output) else None

    @property
    def label(self) -> str:
        """The given name, or the one that the client suggests."""
        own_name = getattr(self.client, "name", None)
        if self.name is not None:
            return self.name
        if isinstance(own_name, str) and own_name:
            return own_name
        return self.model or type(self.client).__name__

    @property
    def model(self) -> str | None:
        """The model that the client names, if it names one."""
        return self._model_field and str(getattr(self.client, self._model_field))


_POSITIVE = (
    "weight",
    "max_concurrency",
    "requests_per_minute",
    "requests_per_day",
    "tokens_per_minute",
    "spend_limit",
    "context_window",
    "attempt_timeout",
    "warmup",
)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def model_of(client: object) -> str | None:
    """Return the model name that an object carries in one of the usual attributes."""
    where = _model_field_of(client)
    return where and str(getattr(client, where))


def _model_field_of(client: object) -> str | None:
    for name in _MODEL_FIELDS:
        value = getattr(client, name, None)
        if isinstance(value, str) and value not in ("", _NO_MODEL):
            return name
    return None


def as_targets(targets: Iterable[Any], *, pool: str) -> tuple[Target, ...]:
    """Return the targets with a name each.

    Names given by the user must differ; names taken from clients are numbered if they repeat.

    Raises:
        ConfigurationError: there is no target, or two were given the same name.
    """
    # An object of pydantic, as many clients are, can be iterated over, but yields its fields.
    if isinstance(targets, str | bytes | BaseModel) or not isinstance(targets, Iterable):
        message = f"pool {pool!r}: targets must be a list, not {type(targets).__name__}"
        raise ConfigurationError(message)
    wrapped = [item if isinstance(item, Target) else Target(item) for item in targets]
    if not wrapped:
        message = f"pool {pool!r}: targets is empty; give it at least one target"
        raise ConfigurationError(message)
    given = [target.name for target in wrapped if target.name is not None]
    for name in given:
        if given.count(name) > 1:
            message = f"pool {pool!r}: two targets are named {name!r}; give each its own name"
            raise ConfigurationError(message)
    taken = set(given)
    return tuple(_with_name(target, taken) for target in wrapped)


def _with_name(target: Target, taken: set[str]) -> Target:
    if target.name is not None:
        return target
    name, number = target.label, 1
    while name in taken:
        number += 1
        name = f"{target.label}#{number}"
    taken.add(name)
    return replace(target, name=name)


def check_fit(policy: FailoverPolicy, targets: Collection[Target], *, pool: str) -> None:
    """Refuse targets that contradict their pool's policy.

    Raises:
        ConfigurationError: two settings contradict each other; the message names both.
    """
    if policy.hedge and len(targets) == 1:
        message = f"pool {pool!r}: policy.hedge needs a second target to send to; give it one"
        raise ConfigurationError(message)
    if policy.spend_limit is not None and not any(target.price for target in targets):
        message = f"pool {pool!r}: policy.spend_limit counts by prices; give the targets a price"
        raise ConfigurationError(message)
    bounds = {"total_timeout": policy.total_timeout, "breaker.lease": policy.breaker.lease}
    for target in targets:
        for name, bound in bounds.items():
            own = target.attempt_timeout
            if own is not None and bound is not None and own > bound:
                message = (
                    f"pool {pool!r}: attempt_timeout ({own} s) of target {target.name!r} is above "
                    f"policy.{name} ({bound} s); lower the first or raise the second"
                )
                raise ConfigurationError(message)
