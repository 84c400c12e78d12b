"""The settings of a pool: frozen, documented, and checked when they are built."""

from __future__ import annotations

import difflib
import math
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
from tenacity import wait_exponential
from tenacity.wait import wait_base

from failover_core.errors import ConfigurationError


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
        use_attribute_docstrings=True,
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
        near = difflib.get_close_matches(field, cls.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(cls.model_fields)}"
        return f"{field}: unknown setting; {hint}"


_BACKOFF = wait_exponential(multiplier=0.05, max=8)
# One object for all policies: tenacity's strategies compare by identity.


class RetryPolicy(Settings):
    """Sends to one target within one call."""

    attempts: int = Field(default=1, ge=1)
    """Sends to one target at the most, the first included."""

    prefer: Literal["failover", "retry"] = "failover"
    """``failover``: an untried target comes before a second send to the same one.
    ``retry``: up to ``attempts`` sends go to a target before the next one is tried."""

    wait: wait_base = Field(default_factory=lambda: _BACKOFF)
    """The backoff before a second send to a target: any tenacity wait strategy, in seconds."""

    jitter: bool = True
    """Wait a random time between 0 and the backoff ("full jitter") instead of all of it."""

    max_wait: Seconds = 8.0
    """Longest wait, in seconds, of a call without ``total_timeout`` for throttled targets."""


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

    @model_validator(mode="after")
    def _cooldown_fits(self) -> Self:
        if self.cooldown > self.max_cooldown:
            message = (
                f"BreakerPolicy: cooldown ({self.cooldown} s) is above max_cooldown "
                f"({self.max_cooldown} s); lower the first or raise the second"
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

    on_unknown: Literal["failover", "raise"] = "failover"
    """What follows an error that fits no class."""

    on_content_safety: Literal["failover", "raise"] = "raise"
    """What follows an answer refused by a moderation or content filter."""

    on_exhausted: Literal["group", "first", "last"] = "group"
    """When all failed: raise AllTargetsFailedError, or the first or last attempt's own error."""

    @model_validator(mode="after")
    def _timeouts_fit(self) -> Self:
        total = self.total_timeout
        for name in ("attempt_timeout", "first_token_timeout"):
            value = getattr(self, name)
            if total is not None and value is not None and value > total:
                message = (
                    f"FailoverPolicy: {name} ({value} s) is above total_timeout ({total} s); "
                    "lower the first or raise the second"
                )
                raise ConfigurationError(message)
        return self
