"""Errors whose type decides: transports, credentials, frameworks, our own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import http.client
import json
import socket
import ssl
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from typing import Any

import aiohttp
import anthropic
import botocore.exceptions  # type: ignore[import-untyped]
import google.api_core.exceptions
import google.auth.exceptions
import grpc  # type: ignore[import-untyped]
import httpcore
import httpx
import httpx2
import langchain_core.exceptions as langchain_errors
import openai
import pydantic
import pytest
import requests
import urllib3
from langchain_openai.chat_models.base import OpenAIRefusalError
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from llama_index.core.callbacks import CBEventType, EventPayload, TokenCountingHandler
from llama_index.core.llms import CompletionResponse
from mistralai.client.errors import NoResponseError

from failover_core.classify import Classification, classify
from failover_core.errors import (
    AllTargetsFailedError,
    AttemptTimeoutError,
    BrokenStreamError,
    ConfigurationError,
    ErrorClass,
    MalformedResponseError,
    ResponseStatusError,
    SpaceMismatchError,
    TargetError,
    UnavailableError,
)
from failover_core.testing import FaultServer, faults

C = ErrorClass

# Untyped: their constructors cannot be checked.
google_errors: Any = google.api_core.exceptions
google_auth: Any = google.auth.exceptions


def verdict(error: BaseException) -> ErrorClass:
    return classify(error, wall=0).error_class


CUT_SHORT = openai.types.chat.ChatCompletion(
    id="x", choices=[], created=0, model="m", object="chat.completion"
)
REQUEST: Any = httpx.Request("POST", "http://127.0.0.1/400/")
REQUEST2: Any = httpx2.Request("POST", "http://127.0.0.1/400/")

TYPES: dict[ErrorClass, list[BaseException]] = {
    C.TIMEOUT: [
        TimeoutError(),
        concurrent.futures.TimeoutError(),
        httpx.ConnectTimeout("x"),
        httpx.ReadTimeout("x"),
        httpx.PoolTimeout("x"),
        httpx2.ReadTimeout("x"),
        httpcore.ReadTimeout("x"),
        requests.ReadTimeout("x"),
        requests.ConnectTimeout("x"),
        urllib3.exceptions.ReadTimeoutError(None, "/", "x"),  # type: ignore[arg-type]
        aiohttp.ServerTimeoutError("x"),
        aiohttp.ConnectionTimeoutError("x"),
        openai.APITimeoutError(REQUEST),
        anthropic.APITimeoutError(REQUEST2),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"),
        botocore.exceptions.ConnectTimeoutError(endpoint_url="http://x"),
        google_auth.TimeoutError("x"),
        grpc.FutureTimeoutError(),
        langchain_errors.ModelTimeoutError("x"),
        AttemptTimeoutError("x"),
    ],
    C.CONNECTION: [
        ConnectionRefusedError(),
        ConnectionResetError(),
        BrokenPipeError(),
        socket.gaierror(-2, "Name or service not known"),
        ssl.SSLError(1, "handshake failure"),
        ssl.SSLCertVerificationError(1, "self-signed certificate"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] ..."),
        asyncio.IncompleteReadError(b"", 10),
        http.client.IncompleteRead(b""),
        http.client.RemoteDisconnected("x"),
        http.client.BadStatusLine("x"),
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.ProxyError("x"),
        httpx.UnsupportedProtocol("x"),
        httpx.RequestError("x"),
        httpx2.ConnectError("x"),
        httpx2.RemoteProtocolError("x"),
        httpcore.ConnectError("x"),
        requests.ConnectionError("x"),
        requests.exceptions.ChunkedEncodingError("x"),
        requests.exceptions.SSLError("x"),
        urllib3.exceptions.ProtocolError("x"),
        urllib3.exceptions.NewConnectionError(None, "x"),  # type: ignore[arg-type]
        urllib3.exceptions.NameResolutionError("h", None, socket.gaierror()),  # type: ignore[arg-type]
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("x"),
        aiohttp.ClientConnectionError("x"),
        openai.APIConnectionError(request=REQUEST),
        anthropic.APIConnectionError(request=REQUEST2),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="http://x"),
        google_auth.TransportError("x"),
        NoResponseError(),
        langchain_errors.ModelConnectionError("x"),
        BrokenStreamError("x"),
    ],
    C.SERVER_ERROR: [
        httpx.TooManyRedirects("x"),
        requests.TooManyRedirects("x"),
        langchain_errors.ModelAPIError("x"),
        google_errors.ServiceUnavailable("x"),
        google_errors.InternalServerError("x"),
        google_errors.DeadlineExceeded("x"),
        ResponseStatusError("x", status_code=502),
    ],
    C.MALFORMED: [
        json.JSONDecodeError("x", "", 0),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid start byte"),
        requests.JSONDecodeError("x", "", 0),
        httpx.DecodingError("x"),
        requests.exceptions.ContentDecodingError("x"),
        openai.APIResponseValidationError(httpx.Response(200, request=REQUEST), None),
        langchain_errors.OutputParserException("x"),
        MalformedResponseError("x"),
        ResponseStatusError("x", status_code=200),
    ],
    C.THROTTLED: [
        langchain_errors.ModelRateLimitError("x"),
        google_errors.TooManyRequests("x"),
        google_errors.ResourceExhausted("x"),
        ResponseStatusError("x", status_code=429),
        ResponseStatusError("x", status_code=503, retry_after="3"),
        ResponseStatusError("x", status_code=200, code="rate_limit_exceeded"),
    ],
    C.QUOTA: [
        ResponseStatusError("x", status_code=429, code="insufficient_quota"),
        ResponseStatusError("x", status_code=402),
    ],
    C.AUTH: [
        botocore.exceptions.NoCredentialsError(),
        google_auth.DefaultCredentialsError("x"),
        google_auth.RefreshError("x"),
        anthropic.CredentialsError("x"),
        langchain_errors.ModelAuthenticationError("x"),
        langchain_errors.ModelPermissionDeniedError("x"),
        google_errors.Unauthenticated("x"),
        google_errors.PermissionDenied("x"),
    ],
    C.MODEL_NOT_FOUND: [
        langchain_errors.ModelNotFoundError("x"),
        google_errors.NotFound("x"),
        ResponseStatusError("Invalid model: `x`", status_code=400),
    ],
    C.SPACE_MISMATCH: [SpaceMismatchError("x")],
    C.INVALID_REQUEST: [
        ConfigurationError("texts[1] is not valid Unicode"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        langchain_errors.ModelInvalidRequestError("x"),
        google_errors.InvalidArgument("x"),
        google_errors.AlreadyExists("x"),
        botocore.exceptions.ParamValidationError(report="x"),
        openai.LengthFinishReasonError(completion=CUT_SHORT),
        ResponseStatusError("x", status_code=400),
    ],
    C.INPUT_TOO_LARGE: [
        langchain_errors.ContextOverflowError("x"),
        ResponseStatusError("x", status_code=422, code="too_long"),
    ],
    C.CONTENT_SAFETY: [
        openai.ContentFilterFinishReasonError(),
        OpenAIRefusalError("x"),
        ResponseStatusError("x", status_code=403, code="content_filter"),
    ],
    C.NEUTRAL: [
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        GeneratorExit(),
        KeyboardInterrupt(),
        SystemExit(1),
        BaseExceptionGroup("x", [asyncio.CancelledError()]),
        GraphBubbleUp(),
        GraphInterrupt(()),
        grpc.FutureCancelledError(),
    ],
    C.UNKNOWN: [
        UnicodeEncodeError("ascii", "schlüssel", 4, 5, "ordinal not in range(128)"),
        KeyError("embedding"),
        TypeError("unexpected keyword argument 'timeout'"),
        AttributeError("'NoneType' object has no attribute 'rate_limit'"),
        IndexError("list index out of range"),
        ZeroDivisionError(),
        AssertionError("HTTP 503"),
        Exception(),
        ValueError("no idea"),
        StopIteration(),
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EMFILE, "Too many open files"),
        TargetError("HTTP 503"),
        UnavailableError("not tried: timed out before"),
    ],
}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(error, expected, id=f"{type(error).__module__}.{type(error).__name__}")
        for expected, errors in TYPES.items()
        for error in errors
    ],
)
def test_the_type_decides(error: BaseException, expected: ErrorClass) -> None:
    assert verdict(error) is expected


GRPC_STATUSES = {
    "INVALID_ARGUMENT": C.INVALID_REQUEST,
    "OUT_OF_RANGE": C.INVALID_REQUEST,
    "ALREADY_EXISTS": C.INVALID_REQUEST,
    "FAILED_PRECONDITION": C.SERVER_ERROR,
    "ABORTED": C.SERVER_ERROR,
    "UNAUTHENTICATED": C.AUTH,
    "PERMISSION_DENIED": C.AUTH,
    "NOT_FOUND": C.MODEL_NOT_FOUND,
    "DEADLINE_EXCEEDED": C.TIMEOUT,
    "RESOURCE_EXHAUSTED": C.THROTTLED,
    "UNAVAILABLE": C.SERVER_ERROR,
    "INTERNAL": C.SERVER_ERROR,
    "UNKNOWN": C.SERVER_ERROR,
    "UNIMPLEMENTED": C.SERVER_ERROR,
    "DATA_LOSS": C.SERVER_ERROR,
    "CANCELLED": C.UNKNOWN,
}


def rpc_error(name: str, details: str = "no.", **metadata: str) -> grpc.aio.AioRpcError:
    pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
    trailing = grpc.aio.Metadata(*pairs)
    return grpc.aio.AioRpcError(grpc.StatusCode[name], grpc.aio.Metadata(), trailing, details)


@pytest.mark.parametrize("name", GRPC_STATUSES)
def test_a_grpc_status_is_asked_from_the_error(name: str) -> None:
    assert verdict(rpc_error(name)) is GRPC_STATUSES[name]


def test_a_grpc_call_that_we_cancelled_is_neutral() -> None:
    assert verdict(rpc_error("CANCELLED", "Locally cancelled by application!")) is C.NEUTRAL


def test_grpc_metadata_can_ask_to_wait() -> None:
    found = classify(rpc_error("UNAVAILABLE", grpc_retry_pushback_ms="1500"), wall=0)
    assert (found.error_class, found.retry_after) == (C.THROTTLED, 1.5)


def test_a_method_called_code_is_not_called_on_strangers() -> None:
    calls = []

    class StrangerError(Exception):
        def code(self) -> None:
            calls.append("code")

    assert verdict(StrangerError("no.")) is C.UNKNOWN
    assert not calls


def wrapped(outer: BaseException, cause: BaseException) -> BaseException:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (wrapped(RuntimeError("embedding failed"), httpx.ReadTimeout("x")), C.TIMEOUT),
        (
            wrapped(openai.APIConnectionError(request=REQUEST), httpx.ConnectError("x")),
            C.CONNECTION,
        ),
        (
            wrapped(ValueError("HTTP 400"), ResponseStatusError("x", status_code=503)),
            C.SERVER_ERROR,
        ),
        (wrapped(TargetError("x"), ConnectionResetError()), C.CONNECTION),
        (wrapped(RuntimeError("x"), asyncio.CancelledError()), C.NEUTRAL),
        (wrapped(TimeoutError(), asyncio.CancelledError()), C.TIMEOUT),
        (wrapped(KeyError("data"), ValueError("HTTP 503")), C.SERVER_ERROR),
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), C.CONNECTION),
    ],
)
def test_the_cause_is_asked_when_the_outer_error_says_nothing_structured(
    error: BaseException, expected: ErrorClass
) -> None:
    assert verdict(error) is expected


def test_a_validation_error_is_not_judged_by_the_document_it_quotes() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("HTTP 401: invalid api key")
    assert verdict(caught.value) is C.UNKNOWN


def test_the_context_is_not_a_cause() -> None:
    error = RuntimeError("a bug in the handler")
    error.__context__ = httpx.ConnectError("x")
    assert verdict(error) is C.UNKNOWN


def test_causes_in_a_circle_end() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert verdict(first) is C.UNKNOWN


def test_a_wait_that_the_cause_asks_for_is_found() -> None:
    cause = ResponseStatusError("x", status_code=429, retry_after="9")
    assert classify(wrapped(RuntimeError("x"), cause), wall=0).retry_after == 9.0


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (ExceptionGroup("x", [httpx.ReadTimeout("x")]), C.TIMEOUT),
        (ExceptionGroup("x", [ExceptionGroup("y", [ConnectionResetError()])]), C.CONNECTION),
        (ExceptionGroup("timed out", [ConnectionResetError(), ValueError()]), C.UNKNOWN),
        (
            AllTargetsFailedError("x", [TimeoutError(), TimeoutError()], error_class=C.TIMEOUT),
            C.TIMEOUT,
        ),
        (AllTargetsFailedError("x", [TimeoutError(), ConnectionResetError()]), C.UNKNOWN),
    ],
)
def test_a_group_counts_as_what_all_of_it_agrees_on(
    group: ExceptionGroup[Exception], expected: ErrorClass
) -> None:
    assert verdict(group) is expected


def test_a_token_budget_of_the_user_is_neutral_by_where_it_was_raised() -> None:
    handler = TokenCountingHandler(tokenizer=str.split, token_budget=1)
    payload: dict[str, Any] = {
        EventPayload.PROMPT: "one two three",
        EventPayload.COMPLETION: CompletionResponse(text="four"),
    }
    with pytest.raises(ValueError, match="budget") as caught:
        handler.on_event_end(CBEventType.LLM, payload)
    assert verdict(caught.value) is C.NEUTRAL
    assert verdict(ValueError(str(caught.value))) is C.UNKNOWN


def get_with_httpx(url: str) -> None:
    httpx.get(url, timeout=0.5)


def get_with_httpx2(url: str) -> None:
    httpx2.get(url, timeout=0.5)


def get_with_requests(url: str) -> None:
    requests.get(url, timeout=0.5)


def get_with_urllib3(url: str) -> None:
    with urllib3.PoolManager() as pool:
        pool.request("GET", url, timeout=0.5, retries=False)


def get_with_aiohttp(url: str) -> None:
    async def get() -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=0.5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            await answer.read()

    asyncio.run(get())


def post_with_httpx(url: str) -> None:
    httpx.post(url, json={}).raise_for_status()


def post_with_httpx2(url: str) -> None:
    httpx2.post(url, json={}).raise_for_status()


def post_with_requests(url: str) -> None:
    requests.post(url, json={}, timeout=5).raise_for_status()


@pytest.mark.parametrize("post", [post_with_httpx, post_with_httpx2, post_with_requests])
def test_the_code_in_the_answers_body_is_read(
    server: FaultServer, post: Callable[[str], None]
) -> None:
    server.fault = faults.Status(429, body={"error": {"code": "insufficient_quota"}})
    with pytest.raises(Exception, match="429") as caught:
        post(f"{server.url}/embeddings")
    assert verdict(caught.value) is C.QUOTA


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.Refuse(), C.CONNECTION),
        (faults.Reset(), C.CONNECTION),
        (faults.Truncate(), C.CONNECTION),
        (faults.Hang(), C.TIMEOUT),
    ],
    ids=["refuse", "reset", "truncate", "hang"],
)
@pytest.mark.parametrize(
    "get",
    [get_with_httpx, get_with_httpx2, get_with_requests, get_with_urllib3, get_with_aiohttp],
)
def test_every_http_library_reports_a_dead_server_as_one(
    server: FaultServer, get: Callable[[str], None], fault: faults.Fault, expected: ErrorClass
) -> None:
    server.fault = fault
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is what differs
        get(f"{server.url}/models")
    assert verdict(caught.value) is expected


async def test_bytes_that_are_no_http_are_not_a_bad_request() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientResponseError) as caught:
                await session.get(f"http://127.0.0.1:{port}/")
    assert caught.value.status == 400
    assert verdict(caught.value) is C.CONNECTION


def test_the_summary_names_type_status_and_code_and_no_providers_words() -> None:
    canary = "sk-canary-0123456789"
    error = ResponseStatusError(f"bad key {canary}", status_code=429, code="insufficient_quota")
    assert classify(error, wall=0) == Classification(
        C.QUOTA, None, "ResponseStatusError (HTTP 429, insufficient_quota)"
    )
    odd = ResponseStatusError(canary, status_code=401, code=canary)
    assert classify(odd, wall=0).summary == "ResponseStatusError (HTTP 401)"
    outer = wrapped(RuntimeError(canary), httpx.ReadTimeout(canary))
    assert classify(outer, wall=0).summary == "RuntimeError from ReadTimeout"


def test_it_recognises_errors_without_loading_their_libraries() -> None:
    program = (
        "import failover_core.classify, sys; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.check_output([sys.executable, "-c", program], text=True)  # noqa: S603 - ours
    loaded = set(done.split())
    assert "failover_core" in loaded
    assert not loaded & {
        "anthropic",
        "botocore",
        "cohere",
        "google",
        "groq",
        "grpc",
        "httpx2",
        "langchain_core",
        "llama_index",
        "mistralai",
        "openai",
        "requests",
        "urllib3",
    }
