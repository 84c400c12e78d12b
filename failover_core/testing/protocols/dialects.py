"""The other vendors' protocols, as other words for the one that the server speaks inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from failover_core.testing.framing import Reply, Request
from failover_core.testing.protocols import errors
from failover_core.testing.protocols.errors import ProtocolError, Reason

if TYPE_CHECKING:
    from failover_core.testing.protocols.routes import Service

Body: TypeAlias = dict[str, Any]
Models: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """A path of a vendor, and what it is inside.

    Attributes:
        path: inside: ``/embeddings`` or ``/rerank``.
        ask: says a request's body in the words used inside.
        say: says the answer to a request in the vendor's words.
        items: the field of the request whose length is limited.
        limit: of that length.
    """

    path: str
    ask: Callable[[Body], Body]
    say: Callable[[Body, Body], Any]
    items: str
    limit: int


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a vendor's API words what the server can do.

    Attributes:
        routes: by path.
        tell: returns the answer to any other request, out of the models; None if there is none.
        complain: returns the body of an error with a message.
        refusals: status and message (with ``{}`` for what was refused) of a refusal.
        has_one_model: whether requests name none.
    """

    routes: Mapping[str, Route]
    tell: Callable[[Request, Models], Any]
    complain: Callable[[str], Any]
    refusals: Mapping[Reason, tuple[int, str]] = field(default_factory=dict)
    has_one_model: bool = False

    def answer(self, request: Request, service: Service) -> Reply:
        """Answer a request."""
        try:
            if request.path != "/health":
                service.authorize(request)
            told = self.tell(request, service.models or {})
            if told is not None:
                return Reply(payload=told)
            return self._serve(request, service)
        except ProtocolError as refusal:
            return self._refuse(refusal)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return self._refuse(errors.invalid(request.body, "", "value_error", repr(error)))

    def _serve(self, request: Request, service: Service) -> Reply:
        route = self.routes.get(request.path)
        if route is None:
            raise errors.not_found()
        body = request.body
        if request.method != "POST" or not isinstance(body, dict):
            raise errors.wrong_method()
        items = body[route.items]
        if isinstance(items, list) and len(items) > route.limit:
            raise errors.too_many_items(items, route.items, route.limit)
        inside = route.ask(body)
        if self.has_one_model:
            inside["model"] = service.first_model(route.path)
        reply = service.serve(route.path, inside)
        tokens = reply.payload["usage"]["total_tokens"]
        headers = {"x-compute-tokens": str(tokens)} if self.has_one_model else {}
        return replace(reply, headers=headers, shape=lambda payload: route.say(body, payload))

    def _refuse(self, refusal: ProtocolError) -> Reply:
        status, message = self.refusals.get(refusal.reason, (refusal.reply.status, "bad request"))
        return Reply(status, self.complain(message.format(refusal.subject)))


def vectors_in(answer: Body) -> list[Any]:
    """Return the vectors of an answer by themselves, for vendors that give them no index."""
    return [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]


def with_task(texts: Any, task: str | None) -> Any:
    """Return texts with the prompt that a model puts before them."""
    if not task:
        return texts
    listed = [texts] if isinstance(texts, str) else texts
    return [f"{task}: {text}" for text in listed]
