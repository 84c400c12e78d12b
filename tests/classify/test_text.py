"""Errors that carry nothing but words."""

from __future__ import annotations

import pytest

from failover_core.classify import classify
from failover_core.errors import ErrorClass

C = ErrorClass

SHAPED = {
    "HTTP 503": C.SERVER_ERROR,
    "HTTP/1.1 503 upstream": C.SERVER_ERROR,
    "HTTP Error 404: whatever": C.MODEL_NOT_FOUND,
    "HTTP status code 429": C.THROTTLED,
    "status code: 429": C.THROTTLED,
    "request failed, status_code=401": C.AUTH,
    "Status 402. Body: no": C.QUOTA,
    "{'status': 529}": C.SERVER_ERROR,
    "Error code: 401 - {'error': {'message': 'no'}}": C.AUTH,
    "Error code: 422 - no": C.INVALID_REQUEST,
    "Error code: 408 - no": C.TIMEOUT,
    "503 Service Unavailable": C.SERVER_ERROR,
    "Client error '404 Not Found' for url 'http://x/400/'": C.MODEL_NOT_FOUND,
    "413 Payload Too Large": C.INPUT_TOO_LARGE,
    "429 Client Error: for url: http://x/": C.THROTTLED,
    "too many 503 error responses": C.SERVER_ERROR,
    "{'message': 'Provider returned error', 'code': 502}": C.SERVER_ERROR,
    "Error code: 400 - Invalid model: x": C.MODEL_NOT_FOUND,
    "Error code: 429 - {'error': {'code': 'insufficient_quota'}}": C.QUOTA,
    "Error code: 429 - please wait 400 ms": C.THROTTLED,
}

WORDED = {
    "429 … wait 400 ms": C.UNKNOWN,
    "Rate limit exceeded (429), wait 400 ms": C.THROTTLED,
    "RESOURCE_EXHAUSTED: slow down": C.THROTTLED,
    "An error occurred (ThrottlingException) when calling Converse": C.THROTTLED,
    "context_length_exceeded": C.INPUT_TOO_LARGE,
    "the prompt exceeds the context window": C.INPUT_TOO_LARGE,
    "insufficient credits left": C.QUOTA,
    "Incorrect API key provided: sk-xxx": C.AUTH,
    "Unauthorized": C.AUTH,
    "The model `gpt-9` does not exist": C.MODEL_NOT_FOUND,
    "blocked by the content filter": C.CONTENT_SAFETY,
    "the operation timed out": C.TIMEOUT,
    "Connection refused by 10.0.0.1": C.CONNECTION,
    "Server is overloaded, come back later": C.SERVER_ERROR,
}

INNOCENT = [
    "the author field is missing",
    "authors: 401",
    "1500 tokens were generated",
    "used 500 tokens",
    "request id req_500 failed",
    "request 9f429c",
    "POST http://host/400/embeddings did not work",
    "POST /v1/400/embeddings did not work",
    "see http://host/?status=503 for more",
    "see https://status.example.com/HTTP/503",
    "took 503 ms",
    "status: 400 ms",
    "error code: 500tokens",
    "error code: 5003",
    "status 429-ab12 of the batch",
    "HTTP 503.5",
    "model gpt-500 said nothing",
    "no answer from `rate-limit-test`",
    "no answer from text-moderation-latest",
    "the model named moderation said nothing",
    "port 443, line 500",
    "version 5.0.3",
    "2024-05-03 12:50:00",
    "500",
    "",
]


def verdict(text: str) -> ErrorClass:
    return classify(RuntimeError(text), wall=0).error_class


@pytest.mark.parametrize("text", SHAPED)
def test_a_number_in_the_shape_of_a_status_counts(text: str) -> None:
    assert verdict(text) is SHAPED[text]


@pytest.mark.parametrize("text", WORDED)
def test_words_count_when_there_is_nothing_else(text: str) -> None:
    assert verdict(text) is WORDED[text]


@pytest.mark.parametrize("text", INNOCENT)
def test_ids_durations_urls_and_names_are_no_errors(text: str) -> None:
    assert verdict(text) is C.UNKNOWN


def test_each_message_of_a_chain_is_read_alone() -> None:
    outer, cause = RuntimeError("the status was"), RuntimeError("503")
    outer.__cause__ = cause
    assert classify(outer, wall=0).error_class is C.UNKNOWN


def test_the_words_of_an_outer_error_do_not_outvote_a_structured_cause() -> None:
    outer: Exception = RuntimeError("unauthorized timeout")
    outer.__cause__ = ConnectionResetError()
    assert classify(outer, wall=0).error_class is C.CONNECTION
