"""Objects that lie, raise or never end: an error about an error helps nobody."""

from __future__ import annotations

from enum import Enum
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_core.classify import Classification, classify
from failover_core.errors import ErrorClass
from failover_core.redaction import redact

C = ErrorClass


class Boom(Exception):  # noqa: N818 - stands for an error of any name
    """An error with any attributes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("no.")
        self.__dict__.update(attributes)


class RaisingError(Exception):
    """Every attribute of a response raises, and so does its text."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    def __str__(self) -> str:
        raise ZeroDivisionError


class HalfBrokenError(Exception):
    """One property raises, the next one is fine."""

    status_code = 401

    @property
    def response(self) -> Any:
        raise RuntimeError

    @property
    def body(self) -> Any:
        raise RuntimeError


class Evil(str):
    """A text whose methods raise."""

    __slots__ = ()

    def lower(self) -> str:
        raise RuntimeError

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


class Odd(Enum):
    A = object()


def unread_response() -> httpx.Response:
    return httpx.Response(503, stream=httpx.ByteStream(b"{}"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (True, C.UNKNOWN),
        ("429", C.THROTTLED),
        ("٤٢٩", C.UNKNOWN),
        (float("nan"), C.UNKNOWN),
        pytest.param(10**5000, C.UNKNOWN, id="huge"),
        (-429, C.UNKNOWN),
        (99, C.UNKNOWN),
        (600, C.UNKNOWN),
        (None, C.UNKNOWN),
        ([], C.UNKNOWN),
        (Odd.A, C.UNKNOWN),
        (Evil("429"), C.THROTTLED),
    ],
)
def test_only_a_real_status_is_a_status(status: Any, expected: ErrorClass) -> None:
    assert classify(Boom(status_code=status), wall=0).error_class is expected


def test_a_property_that_raises_does_not_hide_the_others() -> None:
    assert classify(HalfBrokenError(), wall=0).error_class is C.AUTH


def test_a_body_that_was_not_read_stays_unread() -> None:
    response = unread_response()
    found = classify(Boom(response=response), wall=0)
    assert found.error_class is C.SERVER_ERROR
    assert not response.is_stream_consumed


@pytest.mark.parametrize(
    "error",
    [
        RaisingError(),
        Boom(code=Evil("x"), message=Evil("x"), body=Evil("{}"), headers=Evil("x")),
        Boom(body="[" * 50_000),
        Boom(body=b"\xff\xfe"),
        Boom(body={"error": {"details": [None, 1, {"retryDelay": []}]}}),
        Boom(headers=[1, 2], response=object()),
        Boom(headers=[("retry-after",)]),
        Boom(error=Odd.A, type=Odd.A),
        Boom(__cause__="not an error"),
        Exception({"error": None}),
        Exception(Evil("HTTP 503")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hostile_error_is_only_unknown(error: Exception) -> None:
    assert classify(error, wall=0).error_class is C.UNKNOWN


def test_a_class_without_a_module_is_no_trouble() -> None:
    stray = type("Stray", (Exception,), {"__module__": None})
    assert classify(stray("no."), wall=0) == Classification(C.UNKNOWN, None, "Stray")


def test_a_chain_of_a_million_causes_is_not_walked_to_its_end() -> None:
    error: BaseException = ConnectionResetError()
    for _ in range(10_000):
        outer = RuntimeError("no.")
        outer.__cause__, error = error, outer
    assert classify(error, wall=0).error_class is C.UNKNOWN
    while (cause := error.__cause__) is not None:  # or its end would recurse
        error.__cause__, error = None, cause


PIECES = [
    *["a", "aA", "a_", "_", "`", "1", " ", "k-", "sk-", "eyJ", "eyJaaaaaaaaaaaa.", "bearer "],
    *["://", "http://", "key=", "key: ", '"code": ', "429", "503 Service ", "HTTP ", "HTTP 4"],
    *["status ", "status code: ", "too many ", "model ", "input ", "account ", "content "],
    *["api key ", "invalid ", "billing prompt "],
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", PIECES)
def test_long_texts_take_time_in_proportion_to_their_length(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    for _ in range(3):
        classify(RuntimeError(text), wall=0)
        classify(Boom(status_code=400, body=text, message=text, code=text), wall=0)
        redact(text, "secret")


ATTRIBUTES = st.sampled_from(
    ["status_code", "code", "status", "http_status", "type", "body", "details", "error", "message",
     "response", "raw_response", "headers", "retry_after", "reason"]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.sampled_from([400, 429, 503, "insufficient_quota", "retry-after", "7", Odd.A, Evil("429")]),
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["error", "code", "type", "message", "details", "detail", "innererror",
                     "ResponseMetadata", "HTTPStatusCode", "Error", "Code", "retryDelay"]),
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.deferred(
    lambda: SCALARS | st.lists(VALUES, max_size=3) | st.dictionaries(KEYS, VALUES, max_size=3)
)


@given(st.dictionaries(ATTRIBUTES, VALUES), VALUES, st.text())
def test_whatever_an_error_carries_it_gets_a_class(
    attributes: dict[str, Any], argument: Any, text: str
) -> None:
    error = Boom(**attributes)
    error.args = (argument,)
    error.__cause__ = RuntimeError(text)
    found = classify(error, wall=1e9)
    assert isinstance(found.error_class, ErrorClass)
    assert found.retry_after is None or 0 < found.retry_after <= 300
    assert isinstance(found.summary, str)
