"""``/chat/completions``: OpenAI's shape, whole or as a stream."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from failover_core.testing.framing import Reply
from failover_core.testing.language import Prompt, answer, value_for, words
from failover_core.testing.protocols import errors

_PIECE = re.compile(r"\s*\S+\s?")
_TELLING_WORD = 4
_KEY = re.compile(r"['\"`](\w+)['\"`](?=[^.?!]*\bkeys?\b)")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Message:
    """What the model says: a text, or calls of tools, and why it stopped there."""

    content: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    finish_reason: str = "stop"

    def whole(self) -> dict[str, Any]:
        """Return it as the message of a completion."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content or None}
        if self.tool_calls:
            message["tool_calls"] = list(self.tool_calls)
        return message

    def deltas(self) -> Iterator[dict[str, Any]]:
        """Yield it as the deltas of a stream, the role first and by itself."""
        yield {"role": "assistant", "content": ""}
        for piece in _PIECE.findall(self.content):
            yield {"content": piece}
        for index, call in enumerate(self.tool_calls):
            yield {"tool_calls": [{**call, "index": index}]}


def chat(body: dict[str, Any]) -> Reply:
    """Answer a conversation, by these rules and no others.

    1. A tool is called if ``tool_choice`` names it or is ``required``; or if it is offered, no
       tool has answered the user's last message yet, and that message has the tool's name or a
       word of at least four letters out of it. Arguments are ``value_for`` the tool's schema.
    2. ``response_format`` with a JSON schema is answered with ``value_for`` that schema, and
       ``json_object`` with ``{"answer": ...}``, or with the keys that the user's last message
       quotes in a sentence before the word "key" or "keys".
    3. Anything else is answered by ``answer``: a quotation from the prompt.

    The usage counts words. All messages but the last count as cached; under a
    ``reasoning_effort`` as many tokens as the answer has were reasoning.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise errors.no_items(messages, "messages")
    said = _say(body, Prompt.of(messages))
    common = {
        "id": f"chatcmpl-{next(_numbers)}",
        "created": int(time.time()),
        "model": body["model"],
        "system_fingerprint": "fp_testing",
    }
    usage = _usage(body, said)
    if body.get("stream"):
        options = body.get("stream_options") or {}
        tail = usage if options.get("include_usage") else None
        return Reply(events=tuple(_events(common, said, tail)))
    choice = {
        "index": 0,
        "message": said.whole(),
        "logprobs": None,
        "finish_reason": said.finish_reason,
    }
    return Reply(
        payload={**common, "object": "chat.completion", "choices": [choice], "usage": usage}
    )


def _say(body: dict[str, Any], prompt: Prompt) -> _Message:
    if tool := _tool_to_call(body, prompt):
        return _call(tool["function"], prompt)
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        value = value_for(wanted["json_schema"]["schema"], prompt.user)
        return _Message(orjson.dumps(value).decode())
    if wanted.get("type") == "json_object":
        keys = _KEY.findall(prompt.user) or ["answer"]
        return _Message(orjson.dumps(dict.fromkeys(keys, answer(prompt))).decode())
    return _cut(answer(prompt), body)


def _tool_to_call(body: dict[str, Any], prompt: Prompt) -> dict[str, Any] | None:
    tools: list[dict[str, Any]] = body.get("tools") or []
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return next((tool for tool in tools if tool["function"]["name"] == name), None)
    if choice == "none" or not tools:
        return None
    asked = None if prompt.tools else _asked_for(tools, prompt.user)
    return tools[0] if asked is None and choice == "required" else asked


def _asked_for(tools: list[dict[str, Any]], text: str) -> dict[str, Any] | None:
    said = set(words(text))
    for matches in (_has_name, _has_word):
        for tool in tools:
            if matches(tool["function"]["name"].lower(), said):
                return tool
    return None


def _has_name(name: str, said: set[str]) -> bool:
    return name in said


def _has_word(name: str, said: set[str]) -> bool:
    parts = re.split(r"[_\W]+", name)
    return any(len(part) >= _TELLING_WORD and part in said for part in parts)


def _call(function: dict[str, Any], prompt: Prompt) -> _Message:
    arguments = value_for(function.get("parameters") or {"type": "object"}, prompt.user)
    call = {
        "id": f"call_{next(_numbers)}",
        "type": "function",
        "function": {"name": function["name"], "arguments": orjson.dumps(arguments).decode()},
    }
    return _Message(tool_calls=(call,), finish_reason="tool_calls")


def _cut(text: str, body: dict[str, Any]) -> _Message:
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    pieces = _PIECE.findall(text)
    if limit is None or len(pieces) <= limit:
        return _Message(text)
    return _Message("".join(pieces[:limit]), finish_reason="length")


def _events(
    common: dict[str, Any], said: _Message, usage: dict[str, Any] | None
) -> Iterator[dict[str, Any] | bytes]:
    common = {**common, "object": "chat.completion.chunk"}
    for delta in said.deltas():
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield {**common, "choices": [choice]}
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": said.finish_reason}
    yield {**common, "choices": [last]}
    if usage is not None:
        yield {**common, "choices": [], "usage": usage}
    yield b"data: [DONE]\n\n"


def _usage(body: dict[str, Any], said: _Message) -> dict[str, Any]:
    *earlier, last = (_size(message) for message in body["messages"])
    calls = (call["function"]["arguments"] for call in said.tool_calls)
    shown = sum(len(words(text)) for text in (said.content, *calls))
    thought = shown if body.get("reasoning_effort") else 0
    return {
        "prompt_tokens": sum(earlier) + last,
        "completion_tokens": shown + thought,
        "total_tokens": sum(earlier) + last + shown + thought,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": sum(earlier)},
        "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": thought},
    }


def _size(message: dict[str, Any]) -> int:
    return len(words(str(message.get("content") or "")))
