"""The settings of an HTTP client, checked when it is built. No message shows a key."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, TypedDict

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from failover_core.embedding import Kind
from failover_core.errors import ConfigurationError
from failover_core.policy import Seconds, Settings

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_KEY = re.compile(r"[\x21-\x7e]+")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"(?=.{{1,253}}\.?$){_LABEL}(\.{_LABEL})*\.?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
_HIGHEST_PORT = 65535


def _base_url(text: str) -> str:
    """Return a URL without surrounding spaces and trailing slashes.

    No message shows it: what is no URL may be a key in the wrong place.
    """
    text = text.strip().rstrip("/")
    if re.search(r"[\x00-\x20\x7f\\]", text):
        message = "base_url: holds a space, control character or backslash; remove it"
        raise ConfigurationError(message)
    if "@" in text:
        message = "base_url: holds credentials; pass them as api_key instead"
        raise ConfigurationError(message)
    if "?" in text or "#" in text:
        message = "base_url: has a query or a fragment; leave out what follows ? or #"
        raise ConfigurationError(message)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        message = "base_url: is no URL; write it as http://host:port"
        raise ConfigurationError(message) from None
    if url.scheme not in ("http", "https"):
        message = "base_url: must start with http:// or https://"
        raise ConfigurationError(message)
    if not _HOST.fullmatch(url.raw_host.decode("ascii")) or not _is_port(url.port):
        message = "base_url: has no valid host and port; write it as http://host:port"
        raise ConfigurationError(message)
    return str(url)


def _is_port(number: int | None) -> bool:
    return number is None or 0 < number <= _HIGHEST_PORT


def _model(text: str) -> str:
    if not text.strip():
        message = "model: is empty; name a model that the server has"
        raise ConfigurationError(message)
    return text.strip()


def _key(given: Any) -> SecretStr | None:
    """Return a key, or a reference ``${NAME}`` to one, if it can be sent in a header."""
    key = given.get_secret_value() if isinstance(given, SecretStr) else given
    if key is None or key == "":
        return None
    if not isinstance(key, str) or not _KEY.fullmatch(resolved(key)):
        message = (
            "api_key: must be visible ASCII without spaces or line breaks; "
            "check how it was copied (a key read from a file may need .strip())"
        )
        raise ConfigurationError(message)
    return SecretStr(key)


def resolved(key: str) -> str:
    """Return a key, or the value of the environment variable that ``${NAME}`` refers to."""
    reference = _REFERENCE.fullmatch(key)
    if not reference:
        return key
    name = reference[1]
    if not os.environ.get(name):
        message = f"api_key: the environment variable {name} is not set; set it"
        raise ConfigurationError(message)
    return os.environ[name]


class ClientOptions(TypedDict, total=False):
    """The optional arguments of a client; ``ClientSettings`` describes them."""

    name: str | None
    timeout: float
    connect_timeout: float
    max_connections: int
    max_response_bytes: int
    ca_file: str | None
    output_dimension: int | None
    truncate: bool | None
    query_task: str | None
    passage_task: str | None
    query_prefix: str
    passage_prefix: str


class ClientSettings(Settings):
    """Where a client sends its requests, and its limits."""

    base_url: Annotated[str, AfterValidator(_base_url)]
    """URL that the paths of the API are appended to."""

    model: Annotated[str, AfterValidator(_model)]
    """Name of the model, as the server knows it."""

    api_key: Annotated[SecretStr | None, BeforeValidator(_key)] = Field(default=None, repr=False)
    """Key sent with every request, or ``"${NAME}"`` to read it from an environment variable.
    Only a client with the latter can be pickled: the pickle then carries the name."""

    name: str | None = Field(default=None, min_length=1)
    """Name in messages. None: host and port of ``base_url``."""

    timeout: Seconds = 30.0
    """Seconds one request may take to its last byte, where no attempt sets its own deadline."""

    connect_timeout: Seconds = 5.0
    """Seconds to resolve the name, connect and agree on TLS."""

    max_connections: int = Field(default=100, ge=1)
    """Requests at a time in one process; further ones wait, within their deadline."""

    max_response_bytes: int = Field(default=64 * 2**20, ge=1)
    """Longest body that is read. The default holds 2048 base64 vectors of 4096 dimensions."""

    ca_file: str | None = None
    """File of certificates (PEM) to trust instead of the public ones."""

    output_dimension: int | None = Field(default=None, ge=1)
    """Numbers of a vector to ask for, of models that can be cut short (Matryoshka). None: all."""

    truncate: bool | None = None
    """Whether the server cuts texts that are too long, or refuses them. None: as it likes."""

    query_task: str | None = None
    """What the server calls embedding a query: ``input_type`` of Cohere and Voyage, ``task`` of
    Jina, ``prompt_name`` of TEI. None: as the vendor says; an empty text sends nothing."""

    passage_task: str | None = None
    """The same for passages."""

    query_prefix: str = ""
    """Text put before each query that is embedded, such as ``"query: "``."""

    passage_prefix: str = ""
    """The same for passages."""

    @property
    def secret(self) -> str | None:
        """The key to send, or None."""
        return resolved(self.api_key.get_secret_value()) if self.api_key else None

    def prefix(self, kind: Kind) -> str:
        """Return the text that goes before each text of a kind."""
        return self.query_prefix if kind == Kind.QUERY else self.passage_prefix

    def task(self, kind: Kind, default: str | None) -> str | None:
        """Return what the server calls a kind, or None if it is not to be told."""
        given = self.query_task if kind == Kind.QUERY else self.passage_task
        return default if given is None else given or None

    def as_given(self) -> dict[str, Any]:
        """Return the settings that were given, to build a client like this one."""
        return {field: getattr(self, field) for field in self.model_fields_set}

    def portable_key(self) -> dict[str, str]:
        """Return the key as a pickle may carry it: as a reference.

        Raises:
            ConfigurationError: the key itself was given.
        """
        if self.api_key is None:
            return {}
        if not _REFERENCE.fullmatch(key := self.api_key.get_secret_value()):
            message = (
                "api_key: a pickle must not carry it; "
                'pass api_key="${NAME}" with the environment variable that holds it'
            )
            raise ConfigurationError(message)
        return {"api_key": key}
