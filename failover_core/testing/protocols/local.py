"""The protocols of Text Embeddings Inference and of Ollama."""

from __future__ import annotations

from failover_core.testing.framing import Request
from failover_core.testing.protocols import errors
from failover_core.testing.protocols.dialects import (
    Body,
    Dialect,
    Models,
    Route,
    vectors_in,
    with_task,
)
from failover_core.testing.protocols.errors import Reason

_CONTEXT = 512
_BATCH = 32


def _tei_embed(body: Body) -> Body:
    return {
        "input": with_task(body["inputs"], body.get("prompt_name")),
        "dimensions": body.get("dimensions"),
    }


def _tei_rerank(body: Body) -> Body:
    return {**body, "documents": body["texts"]}


def _tei_ranks(body: Body, answer: Body) -> list[Body]:
    ranks = [
        {"index": result["index"], "score": result["relevance_score"]}
        for result in answer["results"]
    ]
    if body.get("return_text"):
        for rank in ranks:
            rank["text"] = body["texts"][rank["index"]]
    return ranks


def _tei_facts(request: Request, models: Models) -> Body | bytes | None:
    if request.path == "/health":
        return b""
    if request.path != "/info":
        return None
    name, abilities = next(iter(models.items()), ("default", ["embed"]))
    pooled = {"embedding": {"pooling": "cls"}}
    ranking: Body = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    return {
        "model_id": name,
        "model_dtype": "float32",
        "model_type": pooled if "embed" in abilities else ranking,
        "max_concurrent_requests": 512,
        "max_input_length": _CONTEXT,
        "max_batch_tokens": 16_384,
        "max_client_batch_size": _BATCH,
        "auto_truncate": True,
        "tokenization_workers": 2,
        "version": "1.9.3",
    }


TEI = Dialect(
    routes={
        "/embed": Route(
            "/embeddings", _tei_embed, lambda _, told: vectors_in(told), "inputs", _BATCH
        ),
        "/v1/embeddings": Route("/embeddings", dict, lambda _, told: told, "input", _BATCH),
        "/rerank": Route("/rerank", _tei_rerank, _tei_ranks, "texts", _BATCH),
    },
    tell=_tei_facts,
    complain=lambda message: {"error": message, "error_type": "Validation"},
    refusals={
        Reason.SIZE: (422, f"batch size {{}} > maximum allowed batch size {_BATCH}"),
        Reason.MODEL: (424, "model is not an embedding model"),
    },
    has_one_model=True,
)


def _ollama_vectors(body: Body, answer: Body) -> Body:
    return {
        "model": body["model"],
        "embeddings": vectors_in(answer),
        "total_duration": 14_143_917,
        "load_duration": 1_019_500,
        "prompt_eval_count": answer["usage"]["total_tokens"],
    }


def _ollama_facts(request: Request, models: Models) -> Body | None:
    if request.path == "/api/version":
        return {"version": "0.12.6"}
    if request.path != "/api/show":
        return None
    if models and request.body["model"] not in models:
        raise errors.unknown_model(request.body["model"], [])
    return {
        "details": {"family": "bert"},
        "model_info": {"general.architecture": "bert", "bert.context_length": _CONTEXT},
        "capabilities": ["embedding"],
    }


OLLAMA = Dialect(
    routes={
        "/api/embed": Route("/embeddings", dict, _ollama_vectors, "input", 1 << 20),
    },
    tell=_ollama_facts,
    complain=lambda message: {"error": message},
    refusals={Reason.MODEL: (404, "model '{}' not found")},
)
