"""Errors that the vendors' own SDKs raise about a server on loopback."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from failover_core.classify import classify
from failover_core.errors import ErrorClass
from failover_core.testing import Fault, FaultServer, faults
from tests.classify.sdks import (
    HTTP_SDKS,
    call_anthropic,
    call_bedrock,
    call_cohere,
    call_google,
    call_groq,
    call_langchain,
    call_mistral,
    call_openai,
    error_of,
    stream_anthropic,
    stream_openai,
)

# Their SDKs load lazily and leave sockets to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

C = ErrorClass

BY_STATUS = {
    301: C.SERVER_ERROR,
    400: C.INVALID_REQUEST,
    401: C.AUTH,
    402: C.QUOTA,
    403: C.AUTH,
    404: C.MODEL_NOT_FOUND,
    405: C.UNKNOWN,
    408: C.TIMEOUT,
    409: C.INVALID_REQUEST,
    410: C.MODEL_NOT_FOUND,
    413: C.INPUT_TOO_LARGE,
    418: C.UNKNOWN,
    422: C.INVALID_REQUEST,
    424: C.SERVER_ERROR,
    429: C.THROTTLED,
    500: C.SERVER_ERROR,
    501: C.SERVER_ERROR,
    502: C.SERVER_ERROR,
    503: C.SERVER_ERROR,
    504: C.SERVER_ERROR,
    529: C.SERVER_ERROR,
}

TRANSPORT: dict[Fault, ErrorClass] = {
    faults.Reset(): C.CONNECTION,
    faults.Reset(after_bytes=40): C.CONNECTION,
    faults.Truncate(): C.CONNECTION,
    faults.Hang(): C.TIMEOUT,
}


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("sdk", HTTP_SDKS)
def test_the_status_decides_whatever_sdk_reports_it(
    server: FaultServer, sdk: str, status: int
) -> None:
    server.fault = faults.Status(status, body={"message": "no."})
    found = classify(error_of(HTTP_SDKS[sdk], server.url), wall=0)
    assert found.error_class is BY_STATUS[status]
    assert f"HTTP {status}" in found.summary or found.error_class is C.UNKNOWN


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("sdk", HTTP_SDKS)
def test_a_wait_in_the_answer_is_throttling(server: FaultServer, sdk: str, status: int) -> None:
    server.fault = faults.Status(status, body={"message": "no."}, headers={"Retry-After": "7"})
    found = classify(error_of(HTTP_SDKS[sdk], server.url), wall=0)
    assert (found.error_class, found.retry_after) == (C.THROTTLED, 7.0)


@pytest.mark.parametrize("fault", TRANSPORT, ids=str)
@pytest.mark.parametrize("sdk", HTTP_SDKS)
def test_a_broken_transport_is_the_targets_fault(
    server: FaultServer, sdk: str, fault: Fault
) -> None:
    server.fault = fault
    error = error_of(HTTP_SDKS[sdk], server.url)
    if sdk == "bedrock" and isinstance(fault, faults.Truncate):
        # botocore is content with half an error, whose status stands: the path is unknown here.
        assert classify(error, wall=0).error_class is C.MODEL_NOT_FOUND
    else:
        assert classify(error, wall=0).error_class is TRANSPORT[fault]


@pytest.mark.parametrize("sdk", [name for name in HTTP_SDKS if name != "bedrock"])
def test_a_body_that_is_no_json_is_malformed(server: FaultServer, sdk: str) -> None:
    server.fault = faults.Garbage()
    error = error_of(HTTP_SDKS[sdk], server.url)
    assert classify(error, wall=0).error_class is C.MALFORMED


def openai_body(message: str = "no.", *, kind: str | None = None, code: Any = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_body(kind: str, message: str = "no.", **details: str) -> Any:
    error = {"type": kind, "message": message, "details": details or None}
    return {"type": "error", "error": error, "request_id": "req_400"}


def google_body(code: int, status: str, message: str = "no.", *details: Any) -> Any:
    return {"error": {"code": code, "status": status, "message": message, "details": details}}


def reason(name: str) -> Any:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name}


QUOTA_TEXT = "You exceeded your current quota, please check your plan and billing details."
CONTEXT_TEXT = "This model's maximum context length is 4096 tokens. However, you requested 9000."

ANSWERS: list[tuple[str, Any, int, Any, ErrorClass]] = [
    (
        "openai: out of money",
        call_openai,
        429,
        openai_body(QUOTA_TEXT, kind="insufficient_quota", code="insufficient_quota"),
        C.QUOTA,
    ),
    (
        "langchain: out of money",
        call_langchain,
        429,
        openai_body(QUOTA_TEXT, kind="insufficient_quota", code="insufficient_quota"),
        C.QUOTA,
    ),
    (
        "openai: too many requests",
        call_openai,
        429,
        openai_body("Rate limit reached. Try again in 400ms.", code="rate_limit_exceeded"),
        C.THROTTLED,
    ),
    (
        "openai: billing limit",
        call_openai,
        400,
        openai_body(kind="invalid_request_error", code="billing_hard_limit_reached"),
        C.QUOTA,
    ),
    (
        "openai: context",
        call_openai,
        400,
        openai_body(CONTEXT_TEXT, code="context_length_exceeded"),
        C.INPUT_TOO_LARGE,
    ),
    (
        "langchain: context",
        call_langchain,
        400,
        openai_body(CONTEXT_TEXT, code="context_length_exceeded"),
        C.INPUT_TOO_LARGE,
    ),
    (
        "vllm: context, in words only",
        call_openai,
        400,
        openai_body(CONTEXT_TEXT, kind="BadRequestError", code=400),
        C.INPUT_TOO_LARGE,
    ),
    (
        "llama.cpp: context",
        call_openai,
        400,
        openai_body("no.", kind="exceed_context_size_error", code=400),
        C.INPUT_TOO_LARGE,
    ),
    ("openai: filter", call_openai, 400, openai_body(code="content_filter"), C.CONTENT_SAFETY),
    (
        "azure: policy",
        call_openai,
        400,
        {"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        C.CONTENT_SAFETY,
    ),
    (
        "azure: policy, in words only",
        call_openai,
        400,
        openai_body(
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy."
        ),
        C.CONTENT_SAFETY,
    ),
    (
        "openai: no such model",
        call_openai,
        404,
        openai_body("The model `moderation` does not exist", code="model_not_found"),
        C.MODEL_NOT_FOUND,
    ),
    (
        "openai: a model the project may not use",
        call_openai,
        403,
        openai_body(code="model_not_found"),
        C.MODEL_NOT_FOUND,
    ),
    ("openai: wrong URL", call_openai, 404, {"detail": "Not Found"}, C.MODEL_NOT_FOUND),
    ("openai: key", call_openai, 401, openai_body(code="invalid_api_key"), C.AUTH),
    (
        "openai: bad parameter",
        call_openai,
        400,
        openai_body("Unknown parameter: 'foo'.", kind="invalid_request_error"),
        C.INVALID_REQUEST,
    ),
    (
        "infinity: unknown model",
        call_openai,
        400,
        openai_body("Invalid model: Engine for model name `x` not found. Try `y`.", code=400),
        C.MODEL_NOT_FOUND,
    ),
    (
        "infinity: model of another kind",
        call_openai,
        400,
        openai_body("ModelNotDeployedError: model=`x` does not support `rerank`.", code=400),
        C.MODEL_NOT_FOUND,
    ),
    (
        "infinity: too many texts",
        call_openai,
        422,
        {"detail": [{"type": "too_long", "loc": ["body", "input"], "input": ["content filter"]}]},
        C.INPUT_TOO_LARGE,
    ),
    (
        "fastapi: a missing field",
        call_openai,
        422,
        {"detail": [{"type": "missing", "msg": "Field required", "input": "context length"}]},
        C.INVALID_REQUEST,
    ),
    (
        "tei: too many texts",
        call_openai,
        422,
        {"error": "batch size 64 > maximum allowed batch size 32", "error_type": "Validation"},
        C.INPUT_TOO_LARGE,
    ),
    (
        "tei: overloaded",
        call_openai,
        429,
        {"error": "Model is overloaded", "error_type": "Overloaded"},
        C.THROTTLED,
    ),
    (
        "openrouter: input flagged",
        call_openai,
        403,
        openai_body("x/y requires moderation and your input was flagged", code=403),
        C.CONTENT_SAFETY,
    ),
    ("openrouter: no credit", call_openai, 402, openai_body("Insufficient credits"), C.QUOTA),
    (
        "openrouter: no such model",
        call_openai,
        400,
        openai_body("nope/x is not a valid model ID", code=400),
        C.MODEL_NOT_FOUND,
    ),
    (
        "volcengine: overdue",
        call_openai,
        403,
        openai_body("The account has an overdue balance", code="AccountOverdueError"),
        C.QUOTA,
    ),
    ("dashscope: overdue", call_openai, 400, openai_body(code="Arrearage"), C.QUOTA),
    (
        "dashscope: inspection",
        call_openai,
        400,
        openai_body(code="data_inspection_failed"),
        C.CONTENT_SAFETY,
    ),
    ("deepseek: model", call_openai, 400, openai_body("Model Not Exist"), C.MODEL_NOT_FOUND),
    (
        "ollama: model",
        call_openai,
        404,
        {"error": 'model "x" not found, try pulling it first'},
        C.MODEL_NOT_FOUND,
    ),
    (
        "anthropic: overloaded",
        call_anthropic,
        529,
        anthropic_body("overloaded_error"),
        C.SERVER_ERROR,
    ),
    ("anthropic: billing", call_anthropic, 403, anthropic_body("billing_error"), C.QUOTA),
    (
        "anthropic: credit",
        call_anthropic,
        400,
        anthropic_body(
            "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
        ),
        C.QUOTA,
    ),
    (
        "anthropic: spend limit",
        call_anthropic,
        429,
        anthropic_body("rate_limit_error", error_code="enforced_spend_limit_reached"),
        C.QUOTA,
    ),
    (
        "anthropic: prompt",
        call_anthropic,
        400,
        anthropic_body(
            "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"
        ),
        C.INPUT_TOO_LARGE,
    ),
    (
        "anthropic: size",
        call_anthropic,
        413,
        anthropic_body("request_too_large"),
        C.INPUT_TOO_LARGE,
    ),
    (
        "groq: more tokens than the limit allows",
        call_groq,
        413,
        openai_body("Request too large for model `x`", kind="tokens", code="rate_limit_exceeded"),
        C.INPUT_TOO_LARGE,
    ),
    (
        "groq: retired model",
        call_groq,
        400,
        openai_body(kind="invalid_request_error", code="model_decommissioned"),
        C.MODEL_NOT_FOUND,
    ),
    ("cohere: key", call_cohere, 401, {"message": "invalid api token"}, C.AUTH),
    (
        "cohere: tokens",
        call_cohere,
        400,
        {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"},
        C.INPUT_TOO_LARGE,
    ),
    (
        "cohere: texts",
        call_cohere,
        400,
        {"message": "invalid request: total number of texts must be at most 96 - received 97"},
        C.INPUT_TOO_LARGE,
    ),
    (
        "mistral: model",
        call_mistral,
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        C.MODEL_NOT_FOUND,
    ),
    (
        "google: quota",
        call_google,
        429,
        google_body(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT),
        C.THROTTLED,
    ),
    (
        "google: key",
        call_google,
        400,
        google_body(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        C.AUTH,
    ),
    (
        "google: key, by its reason",
        call_google,
        400,
        google_body(400, "INVALID_ARGUMENT", "no.", reason("API_KEY_INVALID")),
        C.AUTH,
    ),
    (
        "google: billing",
        call_google,
        403,
        google_body(403, "PERMISSION_DENIED", "no.", reason("BILLING_DISABLED")),
        C.QUOTA,
    ),
    (
        "google: not from here",
        call_google,
        400,
        google_body(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        C.SERVER_ERROR,
    ),
    (
        "google: tokens",
        call_google,
        400,
        google_body(
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        ),
        C.INPUT_TOO_LARGE,
    ),
    ("google: unavailable", call_google, 503, google_body(503, "UNAVAILABLE"), C.SERVER_ERROR),
]


@pytest.mark.parametrize(
    ("call", "status", "body", "expected"),
    [row[1:] for row in ANSWERS],
    ids=[row[0] for row in ANSWERS],
)
def test_the_error_code_and_the_words_beside_a_status_narrow_it(
    server: FaultServer, call: Any, status: int, body: Any, expected: ErrorClass
) -> None:
    server.fault = faults.Status(status, body=body)
    error = error_of(call, server.url)
    assert classify(error, wall=0).error_class is expected


@pytest.mark.parametrize(
    "message",
    [
        "Invalid token id 50257 in logit_bias",
        "Unexpected token in JSON",
        "The model's tool call: function `get_weather` not found in tools",
        "Invalid value for model output format",
        "max_tokens is too large: 5000",
        "The author of message 401 has no content",
        "metadata.key is invalid",
        "model `content-filter-alpha` takes no tools",
    ],
)
def test_a_request_that_is_wrong_does_not_condemn_its_target(
    server: FaultServer, message: str
) -> None:
    server.fault = faults.Status(400, body=openai_body(message, kind="invalid_request_error"))
    assert classify(error_of(call_openai, server.url), wall=0).error_class is C.INVALID_REQUEST


AWS_ERRORS = {
    "ThrottlingException": (400, C.THROTTLED),
    "AccessDeniedException": (403, C.AUTH),
    "UnrecognizedClientException": (400, C.AUTH),
    "ExpiredTokenException": (400, C.AUTH),
    "ServiceQuotaExceededException": (400, C.QUOTA),
    "ResourceNotFoundException": (404, C.MODEL_NOT_FOUND),
    "ModelTimeoutException": (408, C.TIMEOUT),
    "ModelNotReadyException": (429, C.THROTTLED),
    "InternalServerException": (500, C.SERVER_ERROR),
    "ServiceUnavailableException": (503, C.SERVER_ERROR),
    "ValidationException": (400, C.INVALID_REQUEST),
}


@pytest.mark.parametrize("code", AWS_ERRORS)
def test_bedrock_names_the_problem_in_its_code(server: FaultServer, code: str) -> None:
    status, expected = AWS_ERRORS[code]
    headers = {"x-amzn-ErrorType": code}
    server.fault = faults.Status(status, body={"message": "no."}, headers=headers)
    found = classify(error_of(call_bedrock, server.url), wall=0)
    assert found.error_class is expected
    assert code.lower() in found.summary


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Input is too long for requested model.", C.INPUT_TOO_LARGE),
        ("The provided model identifier is invalid.", C.MODEL_NOT_FOUND),
    ],
)
def test_bedrock_says_the_rest_in_words(
    server: FaultServer, message: str, expected: ErrorClass
) -> None:
    headers = {"x-amzn-ErrorType": "ValidationException"}
    server.fault = faults.Status(400, body={"message": message}, headers=headers)
    assert classify(error_of(call_bedrock, server.url), wall=0).error_class is expected


def test_google_says_in_the_body_how_long_to_wait(server: FaultServer) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "24s"}
    server.fault = faults.Status(429, body=google_body(429, "RESOURCE_EXHAUSTED", "no.", info))
    assert classify(error_of(call_google, server.url), wall=0).retry_after == 24.0


EVENT_STREAM = {"content-type": "text/event-stream"}


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("rate_limit_exceeded", "requests", C.THROTTLED),
        ("insufficient_quota", "insufficient_quota", C.QUOTA),
        ("server_error", "server_error", C.SERVER_ERROR),
        ("content_filter", None, C.CONTENT_SAFETY),
        (502, None, C.SERVER_ERROR),
        (429, None, C.THROTTLED),
    ],
)
def test_an_error_event_in_an_openai_stream_has_no_status_but_a_code(
    server: FaultServer, code: Any, kind: str | None, expected: ErrorClass
) -> None:
    event = b"data: " + orjson.dumps(openai_body(kind=kind, code=code)) + b"\n\n"
    server.fault = faults.Status(200, body=event, headers=EVENT_STREAM)
    assert classify(error_of(stream_openai, server.url), wall=0).error_class is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", C.SERVER_ERROR),
        ("rate_limit_error", C.THROTTLED),
        ("api_error", C.SERVER_ERROR),
        ("authentication_error", C.AUTH),
        ("something_new", C.MALFORMED),
    ],
)
def test_an_error_event_in_an_anthropic_stream_is_no_success(
    server: FaultServer, kind: str, expected: ErrorClass
) -> None:
    event = b"event: error\ndata: " + orjson.dumps(anthropic_body(kind)) + b"\n\n"
    server.fault = faults.Status(200, body=event, headers=EVENT_STREAM)
    assert classify(error_of(stream_anthropic, server.url), wall=0).error_class is expected


def test_langchain_raises_an_error_inside_a_200_as_a_value_error(server: FaultServer) -> None:
    server.fault = faults.ErrorInside200(429)
    error = error_of(call_langchain, server.url)
    assert type(error) is ValueError
    assert classify(error, wall=0).error_class is C.THROTTLED
