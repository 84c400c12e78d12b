"""Which protocol answers a path, who may ask, and which models there are."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from failover_core.errors import ConfigurationError
from failover_core.testing.framing import Reply, Request
from failover_core.testing.protocols import errors
from failover_core.testing.protocols.chat import chat
from failover_core.testing.protocols.dialects import Dialect
from failover_core.testing.protocols.embeddings import embeddings
from failover_core.testing.protocols.errors import ProtocolError
from failover_core.testing.protocols.hosted import COHERE, JINA, VOYAGE
from failover_core.testing.protocols.local import OLLAMA, TEI
from failover_core.testing.protocols.rerank import rerank

_PATHS = ("/embeddings", "/rerank", "/chat/completions")
CAPABILITIES = ("embed", "rerank", "chat")

DIALECTS: dict[str, Dialect | None] = {
    "infinity": None,
    "openai": None,
    "tei": TEI,
    "cohere": COHERE,
    "jina": JINA,
    "voyage": VOYAGE,
    "ollama": OLLAMA,
}
"""What a server may speak. None is what is spoken inside: Infinity's and OpenAI's."""


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
        provider: whose protocol is spoken, a key of ``DIALECTS``.
    """

    models: Mapping[str, Sequence[str]] | None = None
    dimension: int = 384
    api_key: str | None = None
    offers_base64: bool = True
    provider: str = "infinity"

    def __post_init__(self) -> None:
        """Refuse a provider that the server cannot speak for."""
        if self.provider not in DIALECTS:
            message = f"provider: {self.provider!r} is unknown; known: {', '.join(DIALECTS)}"
            raise ConfigurationError(message)

    @classmethod
    def of(
        cls, models: Sequence[str] | Mapping[str, Sequence[str]] | None, **settings: Any
    ) -> Self:
        """Build a service whose models may be just names, all for everything."""
        if models is not None and not isinstance(models, Mapping):
            models = dict.fromkeys(models, CAPABILITIES)
        return cls(models, **settings)

    def answer(self, request: Request) -> Reply:
        """Answer a request; Infinity's paths exist with and without ``/v1``."""
        dialect = DIALECTS[self.provider]
        return dialect.answer(request, self) if dialect else self._answer(request)

    def serve(self, path: str, body: dict[str, Any]) -> Reply:
        """Answer what the body of a request asks of a path."""
        routes: dict[str, tuple[str, Callable[[dict[str, Any]], Reply]]] = {
            "/embeddings": ("embed", self._embeddings),
            "/rerank": ("rerank", rerank),
            "/chat/completions": ("chat", chat),
        }
        capability, answer = routes[path]
        model = body.get("model", "default")
        self._check_model(model, capability)
        return answer({**body, "model": model})

    def first_model(self, path: str) -> str:
        """Return the model of a server that has only one for a path."""
        capability = "rerank" if path == "/rerank" else "embed"
        able = (name for name, found in (self.models or {}).items() if capability in found)
        return next(able, next(iter(self.models or ()), "default"))

    def _answer(self, request: Request) -> Reply:
        path = request.path.removeprefix("/v1")
        try:
            if path == "/health":
                return Reply(payload={"unix": time.time()})
            self.authorize(request, chat=path == "/chat/completions")
            if path == "/models":
                return self._models()
            return self._post(path, request)
        except ProtocolError as refusal:
            return refusal.reply
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return errors.invalid(request.body, "", "value_error", repr(error)).reply

    def authorize(self, request: Request, *, chat: bool = False) -> None:
        """Refuse a request without the right key."""
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
        if path not in _PATHS:
            raise errors.not_found()
        if request.method != "POST":
            raise errors.wrong_method()
        if not isinstance(request.body, dict):
            raise errors.not_an_object(request.content)
        return self.serve(path, request.body)

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
