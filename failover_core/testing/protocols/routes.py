"""Which protocol answers a path, who may ask, and which models there are."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from failover_core.testing.framing import Reply, Request
from failover_core.testing.protocols import errors
from failover_core.testing.protocols.chat import chat
from failover_core.testing.protocols.embeddings import embeddings
from failover_core.testing.protocols.errors import ProtocolError
from failover_core.testing.protocols.rerank import rerank

CAPABILITIES = ("embed", "rerank", "chat")


@dataclass(frozen=True, slots=True)
class Service:
    """A healthy server: answers requests, and knows nothing of faults or sockets.

    Attributes:
        models: the capabilities (``embed``, ``rerank``, ``chat``) of each model; None accepts
            any name for anything.
        dimension: of the vectors.
        api_key: the bearer token that requests must carry; None asks for none.
        offers_base64: whether vectors come in base64 if asked for; otherwise the question is
            ignored, as some servers do.
    """

    models: Mapping[str, Sequence[str]] | None = None
    dimension: int = 384
    api_key: str | None = None
    offers_base64: bool = True

    @classmethod
    def of(
        cls, models: Sequence[str] | Mapping[str, Sequence[str]] | None, **settings: Any
    ) -> Self:
        """Build a service whose models may be just names, all for everything."""
        if models is not None and not isinstance(models, Mapping):
            models = dict.fromkeys(models, CAPABILITIES)
        return cls(models, **settings)

    def answer(self, request: Request) -> Reply:
        """Answer a request; the same paths exist with and without ``/v1``."""
        path = request.path.removeprefix("/v1")
        try:
            if path == "/health":
                return Reply(payload={"unix": time.time()})
            self._authorize(request, chat=path == "/chat/completions")
            if path == "/models":
                return self._models()
            return self._post(path, request)
        except ProtocolError as refusal:
            return refusal.reply
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return errors.invalid(request.body, "", "value_error", repr(error)).reply

    def _authorize(self, request: Request, *, chat: bool) -> None:
        given = request.headers.get("authorization", "")
        wanted = None if self.api_key is None else f"Bearer {self.api_key}"
        if wanted is not None and not hmac.compare_digest(given.encode(), wanted.encode()):
            raise errors.unauthorized(chat=chat)

    def _models(self) -> Reply:
        models = self.models or {}
        entries = [
            {"id": name, "object": "model", "owned_by": "testing", "capabilities": list(abilities)}
            for name, abilities in models.items()
        ]
        return Reply(payload={"object": "list", "data": entries})

    def _post(self, path: str, request: Request) -> Reply:
        routes: dict[str, tuple[str, Callable[[dict[str, Any]], Reply]]] = {
            "/embeddings": ("embed", self._embeddings),
            "/rerank": ("rerank", rerank),
            "/chat/completions": ("chat", chat),
        }
        if path not in routes:
            raise errors.not_found()
        if request.method != "POST":
            raise errors.wrong_method()
        if not isinstance(request.body, dict):
            raise errors.not_an_object(request.content)
        capability, answer = routes[path]
        model = request.body.get("model", "default")
        self._check_model(model, capability)
        return answer({**request.body, "model": model})

    def _embeddings(self, body: dict[str, Any]) -> Reply:
        return embeddings(body, dimension=self.dimension, offers_base64=self.offers_base64)

    def _check_model(self, model: str, capability: str) -> None:
        if self.models is None:
            return
        if model not in self.models:
            if capability == "chat":
                raise errors.unknown_chat_model(model)
            raise errors.unknown_model(model, list(self.models))
        if capability not in self.models[model]:
            raise errors.model_not_deployed(model, capability, list(self.models[model]))
