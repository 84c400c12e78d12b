"""The classes that people embed with otherwise, each if it is installed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer embeds many passages, and one query."""

    documents: Callable[[list[str]], object]
    query: Callable[[str], Awaitable[object]]


def peers(url: str) -> dict[str, Peer]:
    """Return the peers that are installed, to ask the server at a URL."""
    found = {}
    for name, build in _PEERS.items():
        with suppress(ImportError):
            found[name] = build(url)
    return found


def _langchain_openai(url: str) -> Peer:
    # With the check it would split texts by a tokeniser that it downloads.
    options = {
        "model": "m",
        "base_url": url,
        "api_key": "none",
        "check_embedding_ctx_length": False,
    }
    peer = import_module("langchain_openai").OpenAIEmbeddings(**options)
    return Peer(peer.embed_documents, peer.aembed_query)


def _llama_index(url: str) -> Peer:
    options = {"model_name": "m", "api_base": url, "api_key": "none", "embed_batch_size": 256}
    peer = import_module("llama_index.embeddings.openai").OpenAIEmbedding(**options)
    return Peer(peer.get_text_embedding_batch, peer.aget_query_embedding)


def _litellm(url: str) -> Peer:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it downloads one when imported
    module = import_module("litellm")
    options = {"model": "openai/m", "api_base": url, "api_key": "none"}
    return Peer(
        lambda texts: module.embedding(input=texts, **options),
        lambda text: module.aembedding(input=[text], **options),
    )


_PEERS: dict[str, Callable[[str], Peer]] = {
    "langchain-openai": _langchain_openai,
    "llama-index-embeddings-openai": _llama_index,
    "litellm": _litellm,
}
