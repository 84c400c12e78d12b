"""Chat completions: documented, deterministic answers, whole and as a stream."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from failover_core.testing.language import value_for

LANGCHAIN_PROMPT = [
    {
        "role": "system",
        "content": "Use the following context to answer.\n\nBerlin is in Germany. "
        "Paris is the capital of France.",
    },
    {"role": "user", "content": "What is the capital of France?"},
]
LLAMAINDEX_PROMPT = [
    {
        "role": "user",
        "content": "Context information is below.\n---------------------\n"
        "Berlin is in Germany.\n\nParis is the capital of France.\n---------------------\n"
        "Given the context information and not prior knowledge, answer the query.\n"
        "Query: What is the capital of France?\nAnswer: ",
    }
]
QUESTION_FIRST_PROMPT = [
    {
        "role": "user",
        "content": "Question: What is the capital of France? \n"
        "Context: Berlin is in Germany. Paris is the capital of France. \nAnswer:",
    }
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
OTHER = {"type": "function", "function": {"name": "send_mail", "parameters": {}}}


def complete(http: httpx.Client, messages: Any, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": messages, **fields}
    completion = http.post("/v1/chat/completions", json=body).raise_for_status().json()
    assert completion["object"] == "chat.completion"
    choice: dict[str, Any] = completion["choices"][0]
    return choice


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def stream(http: httpx.Client, messages: Any, **fields: Any) -> list[Any]:
    body = {"model": "m", "messages": messages, "stream": True, **fields}
    with http.stream("POST", "/chat/completions", json=body) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("prompt", [LANGCHAIN_PROMPT, LLAMAINDEX_PROMPT, QUESTION_FIRST_PROMPT])
def test_the_answer_quotes_the_sentence_of_the_context_that_fits(
    http: httpx.Client, prompt: Any
) -> None:
    choice = complete(http, prompt)
    assert choice["message"] == {"role": "assistant", "content": "Paris is the capital of France."}
    assert choice["finish_reason"] == "stop"


def test_without_a_fitting_context_the_answer_says_what_was_asked(http: httpx.Client) -> None:
    assert complete(http, say("Hello"))["message"]["content"] == "You said: Hello"


def test_content_in_parts_is_read(http: httpx.Client) -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "user", "content": parts}]
    assert complete(http, messages)["message"]["content"] == "You said: Hello"


def test_a_stream_is_role_then_content_then_finish_then_usage_then_done(
    http: httpx.Client,
) -> None:
    chunks = stream(http, LANGCHAIN_PROMPT, stream_options={"include_usage": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == (
        "Paris is the capital of France."
    )
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 6


def test_usage_is_streamed_only_if_asked_for(http: httpx.Client) -> None:
    assert all("usage" not in chunk for chunk in stream(http, say("Hello")))


def test_max_tokens_and_stop_cut_the_answer(http: httpx.Client) -> None:
    cut = complete(http, say("one two three"), max_tokens=2)
    assert (cut["message"]["content"], cut["finish_reason"]) == ("You said: ", "length")
    assert complete(http, say("one two"), stop=["two"])["message"]["content"] == "You said: one "


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Please use get_weather", "auto"),
        ("What is the weather?", None),
        ("Hello", {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_a_tool_is_called_if_the_message_or_the_choice_asks_for_it(
    http: httpx.Client, text: str, choice: Any
) -> None:
    answer = complete(http, say(text), tools=[OTHER, WEATHER], tool_choice=choice)
    (call,) = answer["message"]["tool_calls"]
    assert answer["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": text, "days": 1}


def test_required_calls_the_first_tool_if_none_is_asked_for(http: httpx.Client) -> None:
    answer = complete(http, say("Hello"), tools=[OTHER, WEATHER], tool_choice="required")
    assert answer["message"]["tool_calls"][0]["function"]["name"] == "send_mail"


@pytest.mark.parametrize(("text", "choice"), [("Hello", "auto"), ("weather?", "none")])
def test_no_tool_is_called_unasked(http: httpx.Client, text: str, choice: str) -> None:
    answer = complete(http, say(text), tools=[WEATHER], tool_choice=choice)
    assert "tool_calls" not in answer["message"]


def test_the_result_of_a_tool_is_the_next_answer(http: httpx.Client) -> None:
    asked = say("What is the weather?")
    call = complete(http, asked, tools=[WEATHER])["message"]
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "Sunny."}
    answer = complete(http, [*asked, call, result], tools=[WEATHER])
    assert answer["message"]["content"] == "Sunny."


def test_a_tool_call_is_streamed(http: httpx.Client) -> None:
    chunks = stream(http, say("weather in 'Oslo' for 3 days"), tools=[WEATHER])
    (call,) = chunks[1]["choices"][0]["delta"]["tool_calls"]
    assert call["index"] == 0
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo", "days": 3}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_structured_output_satisfies_its_schema(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"mood": {"enum": ["sad", "glad"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "Mood", "schema": schema}}
    answer = complete(http, say("I am glad"), response_format=wanted)
    assert json.loads(answer["message"]["content"]) == {"mood": "glad"}
    plain = complete(http, say("Hello"), response_format={"type": "json_object"})
    assert json.loads(plain["message"]["content"]) == {"answer": "You said: Hello"}


def test_json_has_the_keys_that_are_asked_for(http: httpx.Client) -> None:
    asked = say("Tell a joke about 'cats'. As JSON with 'setup' and 'punchline' keys")
    answer = complete(http, asked, response_format={"type": "json_object"})
    assert list(json.loads(answer["message"]["content"])) == ["setup", "punchline"]


def test_usage_tells_what_was_cached_and_thought(http: httpx.Client) -> None:
    messages = [{"role": "system", "content": "Be brief"}, *say("one two three")]
    asked = {"model": "m", "messages": messages, "reasoning_effort": "low"}
    usage = http.post("/chat/completions", json=asked).json()["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (5, 2)
    details = usage["completion_tokens_details"]
    assert (usage["completion_tokens"], details["reasoning_tokens"]) == (10, 5)
    assert usage["total_tokens"] == 15


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "number", "exclusiveMaximum": 3}, 2.0),
        ({"type": "string", "maxLength": 3}, "add"),
        ({"type": ["boolean", "null"]}, True),
        ({"type": "null"}, None),
        ({"const": "x"}, "x"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 7),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [7, 8]),
        ({"$ref": "#/$defs/N", "$defs": {"N": {"type": "integer"}}}, 7),
        ({"properties": {}}, {}),
    ],
)
def test_values_are_filled_from_the_text_within_the_schema(schema: Any, value: Any) -> None:
    assert value_for(schema, "add 7 and 8") == value


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node = {
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "required": ["children"],
    }
    value = value_for({"$ref": "#/$defs/Node", "$defs": {"Node": node}}, "")
    assert value["children"][0]["children"] == [{"children": []}]
