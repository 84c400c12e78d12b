"""What befalls the servers, in eight scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demo.app import Door
from demo.servers import Fleet


@dataclass(frozen=True, slots=True)
class Scene:
    """Something happens to the servers, and questions are asked.

    Attributes:
        title: what happens.
        meaning: what to watch for.
        act: makes it happen.
        door: how the questions are asked.
        in_flight: whether it happens while the questions are being answered, not before.
        after_cooldown: whether the applications first sit out every cooldown.
    """

    title: str
    meaning: str
    act: Callable[[Fleet], None]
    door: Door
    in_flight: bool = False
    after_cooldown: bool = False


def _kill_both(fleet: Fleet) -> None:
    fleet.alpha.kill()
    fleet.bravo.kill()


def _start_both(fleet: Fleet) -> None:
    fleet.alpha.start()
    fleet.bravo.start()


SCENES = (
    Scene(
        "All three servers are well",
        "Alpha is everybody's first choice.",
        lambda _: None,
        Door.SYNC,
        after_cooldown=True,
    ),
    Scene(
        "Alpha is killed (SIGKILL) while it answers",
        "Every broken request goes on to bravo. Two failures eject alpha from a pool.",
        lambda fleet: fleet.alpha.kill(),
        Door.ASYNC,
        in_flight=True,
    ),
    Scene(
        "Alpha stays dead",
        "Nobody waits for an ejected target. When its cooldown is over, one request probes it.",
        lambda _: None,
        Door.STREAM,
    ),
    Scene(
        "Alpha is started again",
        "Two answered probes close its breaker: calls fail back to it by themselves.",
        lambda fleet: fleet.alpha.start(),
        Door.SYNC,
        after_cooldown=True,
    ),
    Scene(
        "Alpha throttles: 429 with Retry-After: 2",
        "No failure, so no ejection: alpha has its two seconds of rest, and bravo answers.",
        lambda fleet: fleet.alpha.misbehave("retry_after", seconds=2, lasting=2),
        Door.ASTREAM,
    ),
    Scene(
        "Alpha hangs: it takes requests and never answers",
        "After one second (attempt_timeout) a request goes on to bravo.",
        lambda fleet: fleet.alpha.misbehave("hang"),
        Door.ASYNC,
        after_cooldown=True,
    ),
    Scene(
        "Alpha and bravo are killed at once",
        "Charlie is left. It has the small embedder for LlamaIndex; LangChain's retriever "
        "moves to its second index, which another model embedded.",
        _kill_both,
        Door.STREAM,
    ),
    Scene(
        "Alpha and bravo are started again",
        "Alpha has the calls again. Bravo rests as the first reserve, until one needs it.",
        _start_both,
        Door.SYNC,
        after_cooldown=True,
    ),
)
