"""One call through each vendor's own SDK, to make it raise its own errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import anthropic
import botocore.session  # type: ignore[import-untyped]
import cohere
import groq
import openai
from botocore.config import Config  # type: ignore[import-untyped]
from google import genai
from google.genai.types import HttpOptions
from langchain_openai import ChatOpenAI
from mistralai.client import Mistral
from pydantic import SecretStr

_MESSAGES: Any = [{"role": "user", "content": "hello"}]


def call_openai(url: str) -> Any:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0, timeout=0.5) as client:
        return client.chat.completions.create(model="m", messages=_MESSAGES)


def stream_openai(url: str) -> Any:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0, timeout=0.5) as client:
        return list(client.chat.completions.create(model="m", messages=_MESSAGES, stream=True))


def call_langchain(url: str) -> Any:
    model = ChatOpenAI(
        openai_api_base=f"{url}/v1",
        openai_api_key=SecretStr("key"),
        model_name="m",
        max_retries=0,
        request_timeout=0.5,
    )
    return model.invoke("hello")


def call_anthropic(url: str) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="key", max_retries=0, timeout=0.5) as client:
        return client.messages.create(model="m", max_tokens=5, messages=_MESSAGES)


def stream_anthropic(url: str) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="key", max_retries=0, timeout=0.5) as client:
        return list(
            client.messages.create(model="m", max_tokens=5, messages=_MESSAGES, stream=True)
        )


def call_groq(url: str) -> Any:
    with groq.Groq(base_url=url, api_key="key", max_retries=0, timeout=0.5) as client:
        return client.chat.completions.create(model="m", messages=_MESSAGES)


def call_cohere(url: str) -> Any:
    client = cohere.ClientV2(base_url=url, api_key="key", timeout=0.5)
    return client.chat(model="m", messages=_MESSAGES, request_options={"max_retries": 0})


def call_mistral(url: str) -> Any:
    with Mistral(server_url=url, api_key="key", timeout_ms=500) as client:
        return client.chat.complete(model="m", messages=_MESSAGES)


def call_google(url: str) -> Any:
    client = genai.Client(api_key="key", http_options=HttpOptions(base_url=url, timeout=500))
    try:
        return client.models.generate_content(model="m", contents="hello")
    finally:
        client.close()


@functools.cache
def _bedrock(url: str) -> Any:
    session = botocore.session.Session()
    session.set_credentials("id", "secret")
    config = Config(retries={"total_max_attempts": 1}, read_timeout=0.5)
    return session.create_client(
        "bedrock-runtime", region_name="eu-west-1", endpoint_url=url, config=config
    )


def call_bedrock(url: str) -> Any:
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    return _bedrock(url).converse(modelId="m", messages=messages)


Call = Callable[[str], Any]

HTTP_SDKS: dict[str, Call] = {
    "openai": call_openai,
    "langchain-openai": call_langchain,
    "anthropic": call_anthropic,
    "groq": call_groq,
    "cohere": call_cohere,
    "mistral": call_mistral,
    "google-genai": call_google,
    "bedrock": call_bedrock,
}


def error_of(call: Call, url: str) -> Exception:
    """Return what the call raises, as its caller sees it."""
    try:
        call(url)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is looked at
        return error
    message = "the call succeeded"
    raise AssertionError(message)
