"""What a chat model answers: the sentence of its prompt that fits the question best."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from failover_core.testing.language.ranking import relevance
from failover_core.testing.language.words import sentences, words

_QUESTION = re.compile(r"^\s*(?:question|query|input)\s*:\s*(.+)", re.IGNORECASE | re.MULTILINE)
_RELEVANT = -2.0  # below, a sentence shares no more than small words with the question


@dataclass(frozen=True, slots=True)
class Prompt:
    """The part of a conversation that an answer is made from.

    Attributes:
        user: the last message of the user.
        tools: the results of tools since then.
        context: the system's messages, and everything of ``user`` but its question.
        question: what follows the last "Question:", "Query:" or "Input:" that begins a line of
            ``user``; else its last sentence that ends with a question mark; else its last one.
    """

    user: str
    tools: tuple[str, ...]
    context: str
    question: str

    @classmethod
    def of(cls, messages: Sequence[dict[str, Any]]) -> Prompt:
        """Take the prompt out of the messages of a request."""
        last = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=-1)
        user = text_of(messages[last]) if last >= 0 else ""
        system = [text_of(one) for one in messages if one["role"] in {"system", "developer"}]
        tools = tuple(text_of(one) for one in messages[last + 1 :] if one["role"] == "tool")
        question, context = _split(user)
        return cls(user, tools, "\n\n".join([*system, context]), question)


def answer(prompt: Prompt) -> str:
    """Answer a prompt by quoting from it.

    The results of tools are quoted whole. Else the answer is the sentence of the context that is
    most relevant to the question, if one is relevant at all; else it says what was asked.
    """
    if prompt.tools:
        return "\n".join(prompt.tools)
    candidates = sentences(prompt.context)
    if candidates and prompt.question:
        scores = relevance(prompt.question, candidates, "answers")
        if scores.max() > _RELEVANT:
            return candidates[int(scores.argmax())]
    return f"You said: {prompt.question or 'nothing'}"


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message whose content is a string, parts, or nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _split(user: str) -> tuple[str, str]:
    if found := list(_QUESTION.finditer(user)):
        label = found[-1]
        return label[1].strip(), user[: label.start()] + "\n\n" + user[label.end() :]
    parts = [part for part in sentences(user) if words(part)]
    asking = [part for part in parts if part.endswith("?")] or parts
    question = asking[-1] if asking else ""
    return question, "\n\n".join(part for part in parts if part != question)
