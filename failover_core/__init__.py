"""Failover for calls to model servers: while one target can answer, the call is answered."""

from __future__ import annotations

from failover_core.engine.breaker import State
from failover_core.engine.needs import CallOptions
from failover_core.engine.ports import Clock, Dice
from failover_core.engine.stats import Latency
from failover_core.engine.status import Health, PoolStatus, TargetStatus
from failover_core.engine.strategies import Sticky, Strategy, register_strategy
from failover_core.errors import (
    AllTargetsFailedError,
    AttemptTimeoutError,
    BrokenStreamError,
    ConfigurationError,
    EmbeddingSpaceMismatchError,
    ErrorClass,
    FailoverError,
    MalformedResponseError,
    OutOfStepError,
    PartialEmbeddingError,
    ResponseStatusError,
    SpaceMismatchError,
    TargetError,
    UnavailableError,
    UnsupportedError,
)
from failover_core.events import EventKind, FailoverEvent
from failover_core.policy import (
    BreakerPolicy,
    FailoverPolicy,
    HedgePolicy,
    ProbePolicy,
    RetryPolicy,
)
from failover_core.resuming import Resume
from failover_core.router import Router
from failover_core.targets import Capability, Price, Target

__all__ = [
    "AllTargetsFailedError",
    "AttemptTimeoutError",
    "BreakerPolicy",
    "BrokenStreamError",
    "CallOptions",
    "Capability",
    "Clock",
    "ConfigurationError",
    "Dice",
    "EmbeddingSpaceMismatchError",
    "ErrorClass",
    "EventKind",
    "FailoverError",
    "FailoverEvent",
    "FailoverPolicy",
    "Health",
    "HedgePolicy",
    "Latency",
    "MalformedResponseError",
    "OutOfStepError",
    "PartialEmbeddingError",
    "PoolStatus",
    "Price",
    "ProbePolicy",
    "ResponseStatusError",
    "Resume",
    "RetryPolicy",
    "Router",
    "SpaceMismatchError",
    "State",
    "Sticky",
    "Strategy",
    "Target",
    "TargetError",
    "TargetStatus",
    "UnavailableError",
    "UnsupportedError",
    "register_strategy",
]
