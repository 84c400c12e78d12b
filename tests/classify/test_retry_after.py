"""How long a server asks to be left alone, and what is believed."""

from __future__ import annotations

import math
from email.utils import formatdate
from typing import Any

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from failover_core.classify import classify
from failover_core.classify.retry_after import from_value
from failover_core.errors import ErrorClass, ResponseStatusError

NOW = 1_790_000_000.0

BELIEVED = {
    "7": 7.0,
    " 2.5 ": 2.5,
    "300": 300.0,
    "301": 300.0,
    "3600": 300.0,
    formatdate(NOW + 20, usegmt=True): 20.0,
}

IGNORED = [
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "Infinity",
    "1e3",
    "1_000",
    "9" * 400,
    "99999999",
    "soon",
    "٣",
    "7\x00",
    "Fri, 31 Dec 2999 23:59:59 GMT",
    "Fri, 99 Foo 2026 23:59:59 GMT",
    formatdate(NOW - 3600, usegmt=True),
    formatdate(NOW + 3600, usegmt=True),
    formatdate(NOW, usegmt=True),
]


def wait(value: Any) -> float | None:
    error = ResponseStatusError("no.", status_code=429, retry_after=value)
    return classify(error, wall=NOW).retry_after


@pytest.mark.parametrize("value", BELIEVED)
def test_seconds_and_dates_are_believed_up_to_300_seconds(value: str) -> None:
    assert wait(value) == pytest.approx(BELIEVED[value])


@pytest.mark.parametrize("value", IGNORED)
def test_absurd_waits_and_wrong_clocks_are_ignored(value: str) -> None:
    assert wait(value) is None


@pytest.mark.parametrize(
    "value", [True, math.nan, math.inf, -1, 0, pytest.param(10**5000, id="huge"), [], b"7"]
)
def test_values_of_other_types_are_ignored_unless_they_are_seconds(value: object) -> None:
    assert wait(value) is None
    assert wait(7) == 7.0
    assert wait(0.5) == 0.5


def test_a_number_too_large_for_a_float_is_no_error() -> None:
    assert from_value(10**5000, wall=NOW) is None


def test_an_absurd_wait_makes_no_503_a_throttling() -> None:
    error = ResponseStatusError("no.", status_code=503, retry_after="nan")
    assert classify(error, wall=NOW).error_class is ErrorClass.SERVER_ERROR


class WithHeaders(Exception):  # noqa: N818 - stands for an error of any name
    def __init__(self, headers: Any) -> None:
        super().__init__("no.")
        self.headers = headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"retry-after-ms": "7000", "retry-after": "99"},
        {"x-ms-retry-after-ms": "7000"},
        httpx.Headers({"RETRY-AFTER": "7"}),
        requests.structures.CaseInsensitiveDict({"Retry-after": "7"}),
        [("Retry-After", "7")],
        [("retry-after", b"7")],
    ],
)
def test_headers_of_every_kind_are_read(headers: Any) -> None:
    assert classify(WithHeaders(headers), wall=NOW).retry_after == 7.0


def test_an_absurd_wait_in_milliseconds_leaves_the_seconds() -> None:
    headers = {"retry-after-ms": "nan", "retry-after": "7"}
    assert classify(WithHeaders(headers), wall=NOW).retry_after == 7.0


@given(st.one_of(st.text(), st.floats(), st.integers(), st.binary(), st.none()), st.floats())
def test_whatever_is_sent_the_wait_is_finite_and_bounded(value: Any, wall: float) -> None:
    error = ResponseStatusError("no.", status_code=429, retry_after=value)
    found = classify(error, wall=wall).retry_after
    assert found is None or 0 < found <= 300
