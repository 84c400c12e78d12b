"""What a transport is given, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class SecretHeaders(dict[str, str]):
    """Headers that show their names alone, because a key is among their values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self)})"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and the limits of its exchange.

    Attributes:
        method: of HTTP.
        url: complete.
        headers: all that are not about the connection.
        content: the body; empty for none.
        deadline: an instant of ``time.monotonic``, to which the answer must have come.
        max_response_bytes: longest body of an answer that is read.
    """

    method: str
    url: str
    headers: SecretHeaders
    content: bytes
    deadline: float
    max_response_bytes: int


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read to the end.

    Attributes:
        status: of HTTP.
        headers: by names of any case.
        content: the body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
