"""Which chunks of a stream go out to the caller, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.resuming import Splice, Transcript
from failover_core.targets import Capability


def gate_of(
    call: Call,
    attempt: Attempt,
    is_content: Callable[[Any], bool],
    transcript: Transcript[Any] | None,
) -> Gate:
    """Return the gate for an attempt's stream.

    Args:
        call: whose attempt it is.
        attempt: that has the stream.
        is_content: whether a chunk is content.
        transcript: of what the caller has of it, if another target may continue it.
    """
    if transcript is None:
        return Gate(call, attempt, is_content)
    return _Joint(call, attempt, is_content, transcript)


class Gate:
    """Holds chunks back until one has content, and commits the call then.

    Attributes:
        prefill: asks the target to continue the text sent so far; None if it answers anew.
    """

    __slots__ = ("_attempt", "_call", "_held", "_is_content", "prefill")

    def __init__(self, call: Call, attempt: Attempt, is_content: Callable[[Any], bool]) -> None:
        self._call = call
        self._attempt = attempt
        self._is_content = is_content
        self._held: list[Any] = []
        self.prefill: Callable[[Attempt], Any] | None = None

    def open(self, chunks: Iterable[Any]) -> list[Any]:
        """Read a stream up to its first content, and return what may go to the caller then."""
        for chunk in chunks:
            if self._is_opened_by(chunk):
                return self._released()
        return []

    async def aopen(self, chunks: AsyncIterable[Any]) -> list[Any]:
        """Do what ``open`` does."""
        async for chunk in chunks:
            if self._is_opened_by(chunk):
                return self._released()
        return []

    def rest(self, chunks: Any) -> Any:
        """Return what may go to the caller after that, of an iterator or an async one."""
        return chunks

    def end(self) -> list[Any]:
        """Return the chunks that go to the caller when the stream has ended in order."""
        return self._held

    def _is_opened_by(self, chunk: Any) -> bool:
        self._held.append(chunk)
        if not self._is_content(chunk):
            return False
        self._call.commit(self._attempt)
        return True

    def _released(self) -> list[Any]:
        released, self._held = self._held, []
        return released


class _Joint(Gate):
    """The gate of a stream that another target may continue, or that continues another's.

    Of the latter, only what is new goes through. What no target could continue waits until the
    stream has ended in order, if its reader can wait.
    """

    __slots__ = ("_splice", "_transcript", "_whole")

    def __init__(
        self,
        call: Call,
        attempt: Attempt,
        is_content: Callable[[Any], bool],
        transcript: Transcript[Any],
    ) -> None:
        super().__init__(call, attempt, is_content)
        self._transcript = transcript
        self._splice: Splice[Any] | None = None
        self._whole: list[Any] = []
        if call.is_resuming:
            self.prefill = _prefill(transcript, attempt)
            self._splice = Splice(transcript, prefilled=self.prefill is not None)

    def rest(self, chunks: Any) -> Any:
        return _Each(self._new, chunks)

    def end(self) -> list[Any]:
        last = self._fed([*self._held, *self._whole])
        return [*last, *self._splice.end()] if self._splice else last

    def _released(self) -> list[Any]:
        return self._new(super()._released())

    def _new(self, chunks: list[Any]) -> list[Any]:
        if not self._transcript.resume.keeps_rest:
            return self._fed(chunks)
        text = self._transcript.resume.text
        ready = [] if self._whole else list(takewhile(lambda one: text(one) is not None, chunks))
        self._whole += chunks[len(ready) :]
        return self._fed(ready)

    def _fed(self, chunks: list[Any]) -> list[Any]:
        feed = self._splice.feed if self._splice else self._transcript.feed
        released = [new for chunk in chunks for new in feed(chunk)]
        self._call.is_resumable = self._transcript.is_text
        return released


class _Each(Iterator[Any], AsyncIterator[Any]):
    """The chunks of a stream, each as one, several or none."""

    def __init__(self, new: Callable[[list[Any]], list[Any]], chunks: Any) -> None:
        self._new = new
        self._chunks = chunks
        self._ready: deque[Any] = deque()

    def __next__(self) -> Any:
        while not self._ready:
            self._ready.extend(self._new([next(self._chunks)]))
        return self._ready.popleft()

    async def __anext__(self) -> Any:
        while not self._ready:
            self._ready.extend(self._new([await anext(self._chunks)]))
        return self._ready.popleft()


def _prefill(transcript: Transcript[Any], attempt: Attempt) -> Callable[[Attempt], Any] | None:
    """Return what asks the attempt's target to continue a text, if it can do that."""
    text, prefill = transcript.prefill, transcript.resume.prefill
    if not (prefill and text and Capability.PREFILL in (attempt.target.supports or ())):
        return None
    return lambda attempt: prefill(attempt.client, text)
