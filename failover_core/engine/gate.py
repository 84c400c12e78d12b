"""Which chunks of a stream go out to the caller, and when."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.resuming import Splice, Transcript
from failover_core.targets import Capability


class Gate:
    """Holds chunks back until one has content, and commits the call then.

    Of a target that continues the stream of another one, only what is new goes through. What no
    target could continue waits until the stream has ended in order, if its reader can wait.

    Attributes:
        prefill: asks the target to continue the text sent so far; None if it answers anew.
    """

    __slots__ = (
        "_attempt",
        "_call",
        "_held",
        "_is_content",
        "_splice",
        "_transcript",
        "_whole",
        "prefill",
    )

    def __init__(
        self,
        call: Call,
        attempt: Attempt,
        is_content: Callable[[Any], bool],
        transcript: Transcript[Any] | None,
    ) -> None:
        self._call = call
        self._attempt = attempt
        self._is_content = is_content
        self._held: list[Any] = []
        self._whole: list[Any] = []
        self._transcript = transcript
        self._splice: Splice[Any] | None = None
        self.prefill: Callable[[Attempt], Any] | None = None
        if transcript and call.is_resuming:
            self.prefill = _prefill(transcript, attempt)
            self._splice = Splice(transcript, prefilled=self.prefill is not None)

    @property
    def is_open(self) -> bool:
        """Whether all further chunks may go to the caller as they are."""
        return self._attempt.committed and self._transcript is None

    def let_through(self, chunk: Any) -> list[Any]:
        """Return the chunks that may go to the caller now, in order."""
        if self._attempt.committed:
            return [chunk] if self._transcript is None else self._new([chunk])
        self._held.append(chunk)
        if not self._is_content(chunk):
            return []
        self._call.commit(self._attempt)
        released, self._held = self._held, []
        return self._new(released)

    def end(self) -> list[Any]:
        """Return the chunks that go to the caller when the stream has ended in order."""
        last = self._fed([*self._held, *self._whole])
        return [*last, *self._splice.end()] if self._splice else last

    def _new(self, chunks: list[Any]) -> list[Any]:
        if self._transcript is None or not self._transcript.resume.keeps_rest:
            return self._fed(chunks)
        text = self._transcript.resume.text
        ready = [] if self._whole else list(takewhile(lambda one: text(one) is not None, chunks))
        self._whole += chunks[len(ready) :]
        return self._fed(ready)

    def _fed(self, chunks: list[Any]) -> list[Any]:
        transcript = self._transcript
        if transcript is None:
            return chunks
        feed = self._splice.feed if self._splice else transcript.feed
        released = [new for chunk in chunks for new in feed(chunk)]
        self._call.is_resumable = transcript.is_text
        return released


def _prefill(transcript: Transcript[Any], attempt: Attempt) -> Callable[[Attempt], Any] | None:
    """Return what asks the attempt's target to continue a text, if it can do that."""
    text, prefill = transcript.prefill, transcript.resume.prefill
    if not (prefill and text and Capability.PREFILL in (attempt.target.supports or ())):
        return None
    return lambda attempt: prefill(attempt.client, text)
