"""Bodies of answers, made ready as far as they can be."""

from __future__ import annotations

import base64
from functools import cache

import numpy as np
import orjson

from benchmarks.servers import NUMBER

CHUNKS = 20
"""Of a stream, if the request does not say."""

_ALIGNED = 3
"""Numbers whose base64 ends where that of the next one begins."""

_USAGE = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}


class Vectors:
    """Answers to requests for embeddings.

    All vectors are one, but for their first number: that of the text.

    Args:
        dimension: of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        numbers = np.random.default_rng(0).standard_normal(dimension).astype("<f4")
        numbers /= np.linalg.norm(numbers)
        self._head, rest = numbers[:_ALIGNED].copy(), numbers[_ALIGNED:]
        self._packed = base64.b64encode(rest.tobytes())
        self._written = orjson.dumps(rest.tolist())[1:]

    def body(self, numbers: list[int], encoding: str) -> bytes:
        """Return the vectors of the texts with these numbers."""
        vector = self._base64 if encoding == "base64" else self._floats
        items = [
            b'{"object":"embedding","index":%d,"embedding":%s}' % (index, vector(number))
            for index, number in enumerate(numbers)
        ]
        usage = b'"usage":{"prompt_tokens":%d,"total_tokens":%d}' % (len(items), len(items))
        return b'{"object":"list","model":"m","data":[%s],%s}' % (b",".join(items), usage)

    def _base64(self, number: int) -> bytes:
        self._head[0] = number
        return b'"%s%s"' % (base64.b64encode(self._head.tobytes()), self._packed)

    def _floats(self, number: int) -> bytes:
        head = b",".join(b"%.9g" % value for value in (number, *self._head[1:].tolist()))
        return b"[%s,%s" % (head, self._written)


def number_of(text: str) -> int:
    """Return the number that a text begins with, -1 if it begins with none."""
    digits = text[:NUMBER]
    return int(digits) if digits.isdigit() else -1


@cache
def ranking(count: int) -> bytes:
    """Return the scores of so many documents, the last one first."""
    results = [
        {"index": index, "relevance_score": (index + 1) / (count + 1)}
        for index in reversed(range(count))
    ]
    return orjson.dumps({"object": "rerank", "model": "m", "results": results, "usage": _USAGE})


@cache
def answer() -> bytes:
    """Return a chat completion."""
    message = {"role": "assistant", "content": "fine"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return orjson.dumps(_completion("chat.completion") | {"choices": choices, "usage": _USAGE})


@cache
def stream(chunks: int) -> bytes:
    """Return a streamed chat completion, all of it."""
    # All of them differ: litellm takes repetition for a fault.
    texts = [{"content": f"word {number} "} for number in range(chunks)]
    deltas = [{"role": "assistant", "content": ""}, *texts]
    choices: list[dict[str, object]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    head = _completion("chat.completion.chunk")
    events = [orjson.dumps(head | {"choices": [choice]}) for choice in choices]
    return b"".join(b"data: %s\n\n" % event for event in [*events, b"[DONE]"])


def _completion(kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "m"}
