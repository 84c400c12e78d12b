"""Classes of exceptions whose type alone decides.

Types are compared by the names in their MRO, so no SDK is imported to recognise its errors. A
name is the top-level package and the class: ``httpx.ReadTimeout``, ``google.TransportError``.
An error that carries a status (``openai.RateLimitError``) is not here: its status decides.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from failover_core.errors import AllTargetsFailedError, ErrorClass, TargetError

_HTTPX: Final = "httpx httpx2"
_HTTPCORE: Final = "httpcore httpcore2"
_STAINLESS: Final = "openai anthropic groq"

_ROWS: Final[tuple[tuple[ErrorClass, str, str], ...]] = (
    (ErrorClass.TIMEOUT, "builtins", "TimeoutError"),
    (ErrorClass.TIMEOUT, f"{_HTTPX} {_HTTPCORE}", "TimeoutException"),
    (ErrorClass.TIMEOUT, _STAINLESS, "APITimeoutError"),
    (ErrorClass.TIMEOUT, "requests", "ConnectTimeout Timeout"),
    (ErrorClass.TIMEOUT, "urllib3 google", "TimeoutError"),
    (ErrorClass.TIMEOUT, "aiohttp", "ServerTimeoutError"),
    (ErrorClass.TIMEOUT, "botocore", "ConnectTimeoutError ReadTimeoutError"),
    (ErrorClass.TIMEOUT, "grpc", "FutureTimeoutError"),
    (ErrorClass.TIMEOUT, "langchain_core", "ModelTimeoutError"),
    (ErrorClass.CONNECTION, "builtins", "ConnectionError"),
    (ErrorClass.CONNECTION, "socket", "gaierror herror"),
    (ErrorClass.CONNECTION, "ssl", "SSLError"),
    (ErrorClass.CONNECTION, "asyncio", "IncompleteReadError"),
    (ErrorClass.CONNECTION, "http", "HTTPException"),
    (ErrorClass.CONNECTION, _HTTPX, "RequestError"),
    (ErrorClass.CONNECTION, _HTTPCORE, "NetworkError ProtocolError ProxyError"),
    (ErrorClass.CONNECTION, _STAINLESS, "APIConnectionError"),
    (ErrorClass.CONNECTION, "requests", "ConnectionError ChunkedEncodingError"),
    # urllib3 derives its failures to connect from its timeout for the sake of old callers.
    (ErrorClass.CONNECTION, "urllib3", "NewConnectionError ProtocolError SSLError ProxyError"),
    (ErrorClass.CONNECTION, "aiohttp", "ClientConnectionError ClientPayloadError"),
    (ErrorClass.CONNECTION, "aiohttp", "HttpProcessingError"),
    (ErrorClass.CONNECTION, "botocore", "ConnectionError HTTPClientError IncompleteReadError"),
    (ErrorClass.CONNECTION, "google", "TransportError"),
    (ErrorClass.CONNECTION, "mistralai", "NoResponseError"),
    (ErrorClass.CONNECTION, "langchain_core", "ModelConnectionError"),
    (ErrorClass.SERVER_ERROR, f"{_HTTPX} requests aiohttp", "TooManyRedirects"),
    (ErrorClass.MALFORMED, "json", "JSONDecodeError"),
    (ErrorClass.MALFORMED, "builtins", "UnicodeDecodeError"),
    (ErrorClass.MALFORMED, _HTTPX, "DecodingError SSEError"),
    (ErrorClass.MALFORMED, "requests", "ContentDecodingError"),
    (ErrorClass.MALFORMED, "urllib3", "DecodeError"),
    (ErrorClass.MALFORMED, "langchain_core", "OutputParserException"),
    (ErrorClass.AUTH, "botocore", "NoCredentialsError PartialCredentialsError"),
    (ErrorClass.AUTH, "botocore", "CredentialRetrievalError NoAuthTokenError"),
    (ErrorClass.AUTH, "botocore", "TokenRetrievalError UnauthorizedSSOTokenError"),
    (ErrorClass.AUTH, "google", "DefaultCredentialsError RefreshError"),
    (ErrorClass.AUTH, "anthropic", "CredentialsError WorkloadIdentityError"),
    (ErrorClass.INPUT_TOO_LARGE, "langchain_core", "ContextOverflowError"),
    (ErrorClass.CONTENT_SAFETY, "langchain_core", "ModelRefusalError"),
    (ErrorClass.CONTENT_SAFETY, "langchain_openai", "OpenAIRefusalError"),
    (ErrorClass.CONTENT_SAFETY, "openai", "ContentFilterFinishReasonError"),
    # The answer ran into the caller's own ``max_tokens``: every target would cut it off.
    (ErrorClass.INVALID_REQUEST, "openai", "LengthFinishReasonError"),
    (ErrorClass.INVALID_REQUEST, "botocore", "ParamValidationError"),
    # Of a client in service: a text that nobody can send.
    (ErrorClass.INVALID_REQUEST, "failover_core", "ConfigurationError"),
    # Its words quote the value that did not fit, which can be anybody's document.
    (ErrorClass.UNKNOWN, "pydantic_core", "ValidationError"),
    (ErrorClass.NEUTRAL, "langgraph", "GraphBubbleUp"),
    (ErrorClass.NEUTRAL, "concurrent", "CancelledError"),
    (ErrorClass.NEUTRAL, "grpc", "FutureCancelledError"),
)

_BY_NAME: Final = {
    f"{package}.{name}": error_class
    for error_class, packages, names in _ROWS
    for package in packages.split()
    for name in names.split()
}

# langchain-core sorts its errors by the HTTP status that providers report them with.
_STATUS_BY_NAME: Final = {
    "langchain_core.ModelInvalidRequestError": 400,
    "langchain_core.ModelAuthenticationError": 401,
    "langchain_core.ModelPermissionDeniedError": 403,
    "langchain_core.ModelNotFoundError": 404,
    "langchain_core.ModelRateLimitError": 429,
    "langchain_core.ModelAPIError": 500,
}

_NETWORK_ERRNOS: Final = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
    }
)

_BUDGET_MODULE: Final = "llama_index.core.callbacks.token_counting"


def class_of_type(error: BaseException) -> ErrorClass | None:
    """Return the class that the error's type decides, or None if it says nothing."""
    if not isinstance(error, Exception) or _is_token_budget(error):
        return ErrorClass.NEUTRAL
    if isinstance(error, AllTargetsFailedError):
        return error.error_class or ErrorClass.UNKNOWN
    if isinstance(error, TargetError) and error.error_class is not ErrorClass.UNKNOWN:
        return error.error_class
    if (decided := _class_of_details(error)) is not None:
        return decided
    for name in qualified_names(error):
        if (found := _BY_NAME.get(name)) is not None:
            return found
    return ErrorClass.CONNECTION if _is_network_os_error(error) else None


def status_of_type(error: BaseException) -> int | None:
    """Return the HTTP status that the error's type stands for, or None."""
    statuses = (_STATUS_BY_NAME.get(name) for name in qualified_names(error))
    return next((status for status in statuses if status is not None), None)


def qualified_names(error: BaseException) -> Iterator[str]:
    """Yield ``package.Class`` of the error's type and of its bases, the most derived first."""
    for cls in type(error).__mro__:
        module = cls.__module__
        if isinstance(module, str):
            yield f"{module.partition('.')[0]}.{cls.__name__}"


def _is_token_budget(error: BaseException) -> bool:
    """Tell whether a user's own LlamaIndex token counter raised this, and not the target."""
    if not isinstance(error, ValueError) or (trace := error.__traceback__) is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__") == _BUDGET_MODULE


def _class_of_details(error: BaseException) -> ErrorClass | None:
    """Return the class of an error whose type alone would mislead, or None."""
    if _is_unparsable_answer(error):
        return ErrorClass.CONNECTION
    return ErrorClass.INVALID_REQUEST if _is_lone_surrogate(error) else None


def _is_unparsable_answer(error: BaseException) -> bool:
    # aiohttp labels bytes that are no HTTP answer as status 400, which would blame the request.
    cause = error.__cause__
    return (
        cause is not None
        and "aiohttp.ClientResponseError" in qualified_names(error)
        and "aiohttp.HttpProcessingError" in qualified_names(cause)
    )


def _is_lone_surrogate(error: BaseException) -> bool:
    # The one thing that UTF-8 cannot encode is in the request. (A key that ASCII cannot is not.)
    return isinstance(error, UnicodeEncodeError) and error.encoding == "utf-8"


def _is_network_os_error(error: BaseException) -> bool:
    # asyncio raises a bare OSError without a number when every address of a host failed.
    return type(error) is OSError and (error.errno is None or error.errno in _NETWORK_ERRNOS)
