"""The settings of a pool: frozen, documented, and checked when they are built."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from failover_core.errors import ConfigurationError
from failover_core.hints import did_you_mean


def _finite(value: float) -> float:
    if not math.isfinite(value):
        message = "must be a finite number of seconds"
        raise ValueError(message)
    return value


Seconds = Annotated[float, Field(gt=0), AfterValidator(_finite)]
"""A duration in seconds: above zero and finite."""


class Settings(BaseModel):
    """A frozen group of settings whose errors name the field and the nearest known key."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,  # models are built when the first of them is: importing is quicker
    )

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            problems = "; ".join(cls._problem(detail) for detail in error.errors())
            message = f"{cls.__name__}: {problems}"
            raise ConfigurationError(message) from None

    @classmethod
    def _problem(cls, detail: Any) -> str:
        field = ".".join(str(part) for part in detail["loc"]) or "settings"
        if detail["type"] != "extra_forbidden":
            return f"{field}: {detail['msg']}"
        return f"{field}: unknown setting; {did_you_mean(field, cls.model_fields)}"


class RetryPolicy(Settings):
    """Sends to one target within one call."""

    attempts: int = Field(default=1, ge=1)
    """Sends to one target at the most, the first included."""

    prefer: Literal["failover", "retry"] = "failover"
    """``failover``: an untried target comes before a second send to the same one.
    ``retry``: up to ``attempts`` sends go to a target before the next one is tried."""

    wait: Callable[[Any], float] | None = None
    """The backoff before a second send to a target: any tenacity wait strategy, in seconds.
    None: 0.05 s, doubling to 8 s."""

    jitter: bool = True
    """Wait a random time between 0 and the backoff ("full jitter") instead of all of it."""

    max_wait: Seconds = 8.0
    """Longest wait, in seconds, of a call without ``total_timeout`` for throttled or rate-limited
    targets."""

    budget: float | None = Field(default=0.2, ge=0, allow_inf_nan=False)
    """Further sends to targets that a call has tried, and hedges, for each answered call; up to
    10 are saved up. None: as many as ``attempts`` allows."""


class BreakerPolicy(Settings):
    """When a target is ejected, and for how long. Two detectors, either of which suffices."""

    consecutive_failures: int = Field(default=5, ge=1)
    """Failures in a row that eject a target."""

    failure_ratio: float = Field(default=0.5, gt=0, le=1)
    """Share of failed calls within ``window`` that ejects a target."""

    minimum_calls: int = Field(default=5, ge=1)
    """Calls within ``window`` below which the ratio says nothing."""

    window: Seconds = 30.0
    """Length of the sliding window of the ratio, in seconds."""

    cooldown: Seconds = 5.0
    """First ejection, in seconds: between half of it and all of it, then doubling."""

    max_cooldown: Seconds = 300.0
    """Longest ejection, and longest ``Retry-After`` that is believed, in seconds."""

    successes_to_close: int = Field(default=2, ge=1)
    """Successful probes in a row that close the breaker."""

    lease: Seconds | None = None
    """Seconds after which a probe without an answer is taken for lost and another one is let
    through. None: the attempt's timeout and 1 s more, or 60 s for attempts without one."""

    slow_start: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """Seconds after its return in which a target gets a growing share, from a tenth to all, of
    the calls that would go to it; 0: all at once."""

    panic_threshold: float = Field(default=0.5, ge=0, le=1)
    """Share of targets in service below which a strategy that spreads calls uses those ejected
    for server errors as well, lest the few that are left be overloaded too; 0: never."""

    @model_validator(mode="after")
    def _cooldown_fits(self) -> Self:
        if self.cooldown > self.max_cooldown:
            message = (
                f"BreakerPolicy: cooldown ({self.cooldown} s) is above max_cooldown "
                f"({self.max_cooldown} s); lower the first or raise the second"
            )
            raise ConfigurationError(message)
        return self


class HedgePolicy(Settings):
    """A second send of a slow call to another target ("The Tail at Scale", Dean and Barroso).

    A percentile cannot tell stalls from the rest if as many calls stall as lie above it: when the
    only target in use stalls for 5 % of its answers, ``after="p90"`` and ``budget=0.1`` help.
    """

    after: Seconds | Annotated[str, Field(pattern=r"^p[1-9][0-9]$")] = "p95"
    """When: after so many seconds, or after a percentile of the pool's newest latencies (of
    streams: to the first content). A percentile wants 20 answers before it says anything."""

    budget: float = Field(default=0.05, gt=0, le=1)
    """Hedges for each call; up to 10 are saved up."""


class ProbePolicy(Settings):
    """Active probes: asking each target for its health from time to time, call or no call.

    A target is asked by its own ``Target(probe=…)``, else by ``check``, else at the free endpoint
    of this library's HTTP clients (``/health`` or ``/models``).
    """

    interval: Seconds = 60.0
    """Seconds from one probe of a target to its next, and up to a fifth more; the first one comes
    at a random moment of the first interval."""

    timeout: Seconds = 5.0
    """Longest one probe may take, in seconds."""

    check: Callable[[Any], Any] | None = None
    """A function, or coroutine function, of a target's client. To raise, or to return False, is
    to say that the target is not well."""

    billed: bool = False
    """Whether targets that have nothing free are sent the smallest request of their kind (one
    text, one document, or a two-word prompt), which a vendor may charge for."""

    @model_validator(mode="after")
    def _timeout_fits(self) -> Self:
        if self.timeout > self.interval:
            message = (
                f"ProbePolicy: timeout ({self.timeout} s) is above interval ({self.interval} s); "
                "lower the first or raise the second"
            )
            raise ConfigurationError(message)
        return self


class FailoverPolicy(Settings):
    """How a pool treats a call. Durations are seconds; None means unlimited."""

    attempt_timeout: Seconds | None = None
    """Longest one attempt may take. None: 30 s for this library's own HTTP clients, and for
    wrapped objects whatever timeout they have themselves. For a stream: until its first content."""

    first_token_timeout: Seconds | None = None
    """Longest wait for the first content of a stream."""

    idle_timeout: Seconds | None = None
    """Longest silence between two chunks of a stream."""

    total_timeout: Seconds | None = None
    """Longest one call may take over all its targets, a stream to its last chunk."""

    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    """Sends to the same target."""

    breaker: BreakerPolicy = Field(default_factory=BreakerPolicy)
    """Ejection and return of targets."""

    hedge: HedgePolicy | None = None
    """A second send when the first is slow. None: no hedging."""

    probe: ProbePolicy | None = None
    """Active probes. None: targets are known by their calls alone."""

    spend_limit: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Most that all targets together may cost in 24 hours, in the unit of ``Target.price``. Then
    only targets without a price serve. None: no limit."""

    adaptive_throttle: bool = False
    """While every target is ejected, refuse a share of the calls at once instead of sending them
    as a last resort, so that an overloaded fleet can recover: ``(sends - 2 * answers) / (sends +
    1)`` of them over the last two minutes, nine tenths at the most ("Site Reliability
    Engineering", chapter 21). It may refuse a call that a target could have served."""

    on_unknown: Literal["failover", "raise"] = "failover"
    """What follows an error that fits no class."""

    on_content_safety: Literal["failover", "raise"] = "raise"
    """What follows an answer refused by a moderation or content filter."""

    on_broken_stream: Literal["raise", "resume"] = "raise"
    """What follows a break of a stream after its first content: raise it, or let another target
    continue the text; if none can, the break is raised all the same. A chat model's tool calls then
    come when its stream has ended, because nobody could continue one of which a part is out."""

    on_invalid_output: Literal["failover", "raise"] = "failover"
    """What follows a structured output that does not keep to its schema: ask the next target, or
    leave it to the parser, which raises. If no target keeps to it, the parser has the first."""

    on_exhausted: Literal["group", "first", "last"] = "group"
    """When all failed: raise AllTargetsFailedError, or the first or last attempt's own error."""

    @model_validator(mode="after")
    def _timeouts_fit(self) -> Self:
        for name in ("attempt_timeout", "first_token_timeout", "idle_timeout"):
            self._at_most(name, getattr(self, name), "total_timeout", self.total_timeout)
        self._at_most("attempt_timeout", self.attempt_timeout, "breaker.lease", self.breaker.lease)
        after = self.hedge.after if self.hedge else None
        if not isinstance(after, str):
            for name in ("attempt_timeout", "total_timeout"):
                self._at_most("hedge.after", after, name, getattr(self, name))
        return self

    def _at_most(
        self, name: str, value: float | None, bound_name: str, bound: float | None
    ) -> None:
        if value is not None and bound is not None and value > bound:
            message = (
                f"FailoverPolicy: {name} ({value} s) is above {bound_name} ({bound} s); "
                "lower the first or raise the second"
            )
            raise ConfigurationError(message)
