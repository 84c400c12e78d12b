"""The body of an answer, bounded while it comes in."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from failover_core.errors import MalformedResponseError


class BoundedBody:
    """Collects the chunks of one answer.

    Args:
        request: whose answer it is; its ``max_response_bytes`` extension is the limit.
    """

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._left: int = request.extensions["max_response_bytes"]
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """Take a chunk.

        Raises:
            MalformedResponseError: the answer is longer than the limit.
        """
        self._left -= len(chunk)
        if self._left < 0:
            limit = self._request.extensions["max_response_bytes"]
            message = f"the answer is longer than max_response_bytes ({limit})"
            raise MalformedResponseError(message)
        self._chunks.append(chunk)

    def response(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> httpx.Response:
        """Return the answer with all of its body."""
        stream = httpx.ByteStream(b"".join(self._chunks))
        return httpx.Response(status, headers=list(headers), stream=stream, request=self._request)
