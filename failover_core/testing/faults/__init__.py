"""Every way in which a ``FaultServer`` can misbehave."""

from __future__ import annotations

from failover_core.testing.faults.answers import (
    ErrorInside200,
    Garbage,
    Redirect,
    RetryAfter,
    Status,
)
from failover_core.testing.faults.base import Fault
from failover_core.testing.faults.lists import (
    DuplicateIndex,
    EmptyVectors,
    IndexOutOfRange,
    NotFinite,
    RaggedDimensions,
    Shuffled,
    WrongCount,
    WrongDimension,
    ZeroVectors,
)
from failover_core.testing.faults.streams import (
    Dying,
    MalformedChunk,
    MissingDone,
    StreamEnd,
    StreamError,
    StreamHang,
    StreamReset,
)
from failover_core.testing.faults.transport import (
    Bandwidth,
    Flap,
    Hang,
    HugeBody,
    Refuse,
    Reset,
    Slow,
    SlowClose,
    TlsFailure,
    Trickle,
    Truncate,
)

__all__ = [
    "Bandwidth",
    "DuplicateIndex",
    "Dying",
    "EmptyVectors",
    "ErrorInside200",
    "Fault",
    "Flap",
    "Garbage",
    "Hang",
    "HugeBody",
    "IndexOutOfRange",
    "MalformedChunk",
    "MissingDone",
    "NotFinite",
    "RaggedDimensions",
    "Redirect",
    "Refuse",
    "Reset",
    "RetryAfter",
    "Shuffled",
    "Slow",
    "SlowClose",
    "Status",
    "StreamEnd",
    "StreamError",
    "StreamHang",
    "StreamReset",
    "TlsFailure",
    "Trickle",
    "Truncate",
    "WrongCount",
    "WrongDimension",
    "ZeroVectors",
]
