"""``/rerank``: the shape that Infinity, Jina and vLLM share."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from failover_core.testing.framing import Reply
from failover_core.testing.language import relevance, words
from failover_core.testing.protocols import errors


def rerank(body: dict[str, Any]) -> Reply:
    """Score ``documents`` against ``query``, best first, ``top_n`` of them at the most.

    Scores lie between 0 and 1, unless ``raw_scores`` asks for logits.
    """
    documents = body.get("documents")
    if not isinstance(documents, list) or not documents:
        raise errors.no_items(documents, "documents")
    texts = [one if isinstance(one, str) else one["text"] for one in documents]
    scores = relevance(body.get("query", ""), texts, body["model"])
    if not body.get("raw_scores"):
        scores = 1.0 / (1.0 + np.exp(-scores))
    order = np.argsort(-scores, kind="stable")[: body.get("top_n")]
    tokens = sum(len(words(text)) for text in texts)
    return Reply(
        payload={
            "object": "rerank",
            "results": [
                {
                    "relevance_score": float(scores[index]),
                    "index": int(index),
                    "document": documents[index] if body.get("return_documents") else None,
                }
                for index in order
            ],
            "model": body["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "created": int(time.time()),
        }
    )
