"""Keys in text, and the text without them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_core.redaction import redact

KEY = "Canary/0+key=é\nx"

LEAKS = [
    "Incorrect API key provided: sk-canary123456. See https://host/account",
    "GET http://h/v1?key=canary123&x=1 failed",
    "GET http://h/v1?api_key=canary123 failed",
    "{'x-api-key': 'canary123'}",
    '{"access_token": "canary123"}',
    "Authorization: Bearer canary123",
    "headers: {'authorization': b'Basic canary123'}",
    "[(b'api-key', 'canary123'), (b'x-api-key', b'canary123')]",
    "OPENAI_API_KEY=canary123",
    "password = canary123",
    "sent Bearer canary123",
    "https://user:canary123@host/x",
    "https://canary123@host/x",
    "AIzaSyCanary123canary123",
    "hf_canary123canary123",
    "gsk_canary123canary123",
    "0123456789abcanary123def0123456789abcdef",
    "eyJhbGciOiJI.eyJcanary123.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("text", LEAKS)
def test_what_looks_like_a_key_is_masked(text: str) -> None:
    shown = redact(text)
    assert "canary" not in shown.lower()
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [f"the key {KEY} is bad", "http://h/Canary%2F0%2Bkey%3D%C3%A9%0Ax", f"args: {KEY!r}"],
    ids=["as it is", "percent-encoded", "as repr shows it"],
)
def test_a_known_secret_is_removed_in_every_spelling(text: str) -> None:
    assert "Canary" not in redact(text, KEY)


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert redact("abcdef", "abc", "abcdef", "") == "***"


@pytest.mark.parametrize(
    "text",
    [
        "HTTP 503 from http://127.0.0.1:7997/v1/embeddings",
        "maximum context length is 8192 tokens, max_tokens: 512",
        "request req_0123456789abcdef failed",
        "Invalid model: Engine for model name `BAAI/bge-small-en-v1.5` not found",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_the_text_is_cut_after_the_keys_are_gone() -> None:
    text = f"{'x ' * 98}{'sk-' + 'canary' * 20}"
    assert "canary" not in redact(text)
    assert redact("y " * 300)[-1] == "…"
    assert len(redact("y " * 300)) == 200
    assert redact("abcdef", limit=3) == "ab…"


@given(st.text(), st.text(min_size=1, alphabet=st.characters(codec="ascii", categories=["L"])))
def test_a_known_secret_never_survives(text: str, secret: str) -> None:
    shown = redact(f"{text}{secret}{text}", secret, limit=10_000)
    assert secret not in shown.replace("***", "")
