"""``/embeddings``: OpenAI's shape, with Infinity's limits."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from failover_core.testing.framing import Reply
from failover_core.testing.language import embed, words
from failover_core.testing.protocols import errors

MAX_INPUTS = 2048


def embeddings(body: dict[str, Any], *, dimension: int, offers_base64: bool = True) -> Reply:
    """Embed ``input``, a text or a list of texts (or of token numbers, read as words)."""
    texts = _texts(body.get("input"))
    vectors = embed(texts, body["model"], dimension)
    if shorter := body.get("dimensions"):
        vectors = vectors[:, :shorter]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    tokens = sum(len(words(text)) for text in texts)
    payload = {
        "object": "list",
        "data": [
            {"object": "embedding", "embedding": vector, "index": index}
            for index, vector in enumerate(vectors.astype("<f4"))
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "created": int(time.time()),
    }
    in_base64 = offers_base64 and body.get("encoding_format") == "base64"
    return Reply(payload=payload, encode=_base64 if in_base64 else None)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise errors.no_items(value, "input")
    if isinstance(value[0], int):
        value = [value]
    if len(value) > MAX_INPUTS:
        raise errors.too_many_items(value, "input", MAX_INPUTS)
    return [text if isinstance(text, str) else " ".join(map(str, text)) for text in value]


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.tobytes()).decode()
