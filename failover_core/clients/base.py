"""What the HTTP clients of every wire protocol share: transport, JSON, deadlines and errors.

A protocol builds payloads and reads documents. It is written once, as *dialogues*: generators
that yield what to post and get the JSON of the answer, or the ResponseStatusError it was. Sync
and async differ only in who sends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Self, TypeVar, Unpack

import httpx
from pydantic import SecretStr

from failover_core.clients import answers
from failover_core.clients.complaints import complaint
from failover_core.clients.descriptions import Description
from failover_core.clients.dialogue import Dialogue, Post, encoded
from failover_core.clients.exchange import Request, Response, SecretHeaders
from failover_core.clients.settings import ClientOptions, ClientSettings
from failover_core.engine.deadline import current_deadline
from failover_core.engine.usage import charge
from failover_core.errors import (
    AttemptTimeoutError,
    ConfigurationError,
    MalformedResponseError,
    ResponseStatusError,
)

T = TypeVar("T")

_REDIRECT = 300


class HttpClient:
    """A client of one server and one model.

    One object serves any number of threads, event loops and forked processes. It pickles and
    deep-copies by its settings; a pickle never holds a key (see ``ClientSettings.api_key``).

    Args:
        base_url: where the paths of the API begin; None for the vendor's own service.
        model: name of the model, as the server knows it.
        api_key: sent as a bearer token; ``"${NAME}"`` reads it from an environment variable.
        **options: see ``ClientSettings``.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    enforces_deadline: ClassVar[bool] = True
    """``current_deadline`` is kept on the socket; nobody has to bound the call from outside."""

    default_url: ClassVar[str | None] = None
    """URL of the vendor's own service; None where everybody runs a server of his own."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        model: str,
        api_key: str | SecretStr | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        url = self.default_url if base_url is None else base_url
        if url is None:
            message = f"base_url: is missing; {type(self).__name__} has no server of its own"
            raise ConfigurationError(message)
        given = {"base_url": url, "model": model, "api_key": api_key, **options}
        self._settings = settings = ClientSettings.model_validate(given)
        self._check_options()
        self._url = httpx.URL(settings.base_url)
        self._headers = self._build_headers()
        # aiohttp takes a tenth of a second to import: not before somebody builds a client.
        from failover_core.clients.transport import Transport  # noqa: PLC0415

        self._transport = Transport(
            self._url,
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            ca_file=settings.ca_file,
        )

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._settings.model

    @property
    def name(self) -> str:
        """Name in messages and as a target."""
        return self._settings.name or self._url.netloc.decode("ascii")

    @property
    def default_attempt_timeout(self) -> float:
        """Seconds an attempt may take if neither its target nor the policy says."""
        return self._settings.timeout

    def describe(self) -> Description:
        """Return what is known of the model, asking the server where it can tell.

        Nothing else calls this; what the server said is not remembered.

        Raises:
            TargetError: the server cannot be asked, or its answer cannot be used.
            httpx.TransportError: the connection failed.
        """
        return self._run(self._describe())

    async def adescribe(self) -> Description:
        """Do what ``describe`` does."""
        return await self._arun(self._describe())

    @property
    def connections(self) -> int:
        """Connections that have brought an answer, each perhaps from a server started since."""
        return self._transport.connections

    def close(self) -> None:
        """Close the connections at rest. The client stays usable."""
        self._transport.close()

    async def aclose(self) -> None:
        """Do what ``close`` does."""
        await self._transport.aclose()

    def _describe(self) -> Dialogue[Description]:
        """Converse with the server about the model; without a way to, nothing is sent."""
        yield from ()
        return Description(self.model)

    def _check_options(self) -> None:
        """Refuse settings that the protocol has no words for."""

    def _build_headers(self) -> SecretHeaders:
        headers = SecretHeaders(
            {
                "Host": self._url.netloc.decode("ascii"),
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # what is not compressed cannot be a bomb
                "Content-Type": "application/json",
                "User-Agent": "rag-failover",
            }
        )
        if key := self._settings.secret:
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _run(self, dialogue: Dialogue[T]) -> T:
        deadline = self._deadline()
        proceed = partial(next, dialogue)
        while True:
            try:
                post = proceed()
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            with self._timeouts():
                response = self._transport.send(self._request(post, deadline))
            proceed = self._reply(dialogue, post, response)

    async def _arun(self, dialogue: Dialogue[T]) -> T:
        deadline = self._deadline()
        proceed = partial(next, dialogue)
        while True:
            try:
                post = proceed()
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            with self._timeouts():
                response = await self._transport.asend(self._request(post, deadline))
            proceed = self._reply(dialogue, post, response)

    def _deadline(self) -> float:
        deadline = current_deadline.get()
        return time.monotonic() + self._settings.timeout if deadline is None else deadline

    @contextmanager
    def _timeouts(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            message = f"{self.name}: {error}"
            raise AttemptTimeoutError(message) from error

    def _request(self, post: Post, deadline: float) -> Request:
        settings = self._settings
        method, content = ("GET", b"") if post.payload is None else ("POST", encoded(post))
        url = settings.base_url + post.path
        return Request(method, url, self._headers, content, deadline, settings.max_response_bytes)

    def _reply(self, dialogue: Dialogue[T], post: Post, response: Response) -> partial[Post]:
        """Return how the dialogue goes on after an answer."""
        try:
            return partial(dialogue.send, self._document(post, response))
        except ResponseStatusError as error:
            return partial(dialogue.throw, error)

    def _document(self, post: Post, response: Response) -> Any:
        """Return the JSON of an answer, unless it is an error."""
        if response.headers.get("content-encoding", "identity") != "identity":
            message = f"{self.name} compressed an answer although told not to"
            raise MalformedResponseError(message)
        failed = response.status >= _REDIRECT
        if not (failed or post.reads_json):
            return None
        try:
            document = answers.decode(response.content)
        except MalformedResponseError:
            if not failed:
                raise
            document = None
        if failed or (isinstance(document, dict) and document.get("error")):
            raise complaint(
                self.name,
                post.path,
                response.status,
                document,
                retry_after=response.headers.get("retry-after"),
                secret=self._settings.secret,
            )
        charge(answers.tokens(document, response.headers))
        return document

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.base_url!r}, model={self.model!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _rebuild(type(self), self._settings.as_given())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._settings.as_given() | self._settings.portable_key())


C = TypeVar("C", bound=HttpClient)


def _rebuild(cls: type[C], settings: dict[str, Any]) -> C:
    return cls(**settings)
