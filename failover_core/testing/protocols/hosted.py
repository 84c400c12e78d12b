"""The protocols of Cohere, Jina AI and Voyage AI."""

from __future__ import annotations

from typing import Any

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

_ID = "07734bd2-2473-4f07-94e1-0d9f0e6843cf"
_RANK = ("index", "relevance_score")


def _nothing(request: Request, models: Models) -> None:  # noqa: ARG001 - no such paths
    return None


def _ranks(answer: Body) -> list[Body]:
    return [{name: result[name] for name in _RANK} for result in answer["results"]]


def _cohere_embed(body: Body) -> Body:
    return {
        "model": body["model"],
        "input": with_task(body["texts"], body["input_type"]),
        "dimensions": body.get("output_dimension"),
        "encoding_format": body.get("embedding_types", ["float"])[0],
    }


def _cohere_vectors(body: Body, answer: Body) -> Body:
    return {
        "id": _ID,
        "embeddings": {body.get("embedding_types", ["float"])[0]: vectors_in(answer)},
        "texts": body["texts"],
        "meta": _cohere_meta(input_tokens=answer["usage"]["total_tokens"]),
        "response_type": "embeddings_by_type",
    }


def _cohere_ranks(body: Body, answer: Body) -> Body:  # noqa: ARG001 - the same for all
    return {"id": _ID, "results": _ranks(answer), "meta": _cohere_meta(search_units=1)}


def _cohere_meta(**billed: int) -> Body:
    return {"api_version": {"version": "2"}, "billed_units": billed}


def _cohere_models(request: Request, models: Models) -> Body | None:
    listed = [{"name": name, "endpoints": list(found)} for name, found in models.items()]
    if request.path == "/v1/models":
        return {"models": listed}
    if not request.path.startswith("/v1/models/"):
        return None
    name = request.path.removeprefix("/v1/models/")
    if found := next((model for model in listed if model["name"] == name), None):
        return found
    raise errors.unknown_model(name, [])


COHERE = Dialect(
    routes={
        "/v2/embed": Route("/embeddings", _cohere_embed, _cohere_vectors, "texts", 96),
        "/v2/rerank": Route("/rerank", dict, _cohere_ranks, "documents", 10_000),
    },
    tell=_cohere_models,
    complain=lambda message: {"id": _ID, "message": message},
    refusals={
        Reason.KEY: (401, "invalid api token"),
        Reason.MODEL: (404, "model '{}' not found, make sure the correct model ID was used"),
        Reason.SIZE: (400, "invalid request: total number of texts must be at most 96"),
    },
)


def _jina_embed(body: Body) -> Body:
    return {
        "model": body["model"],
        "input": with_task(body["input"], body.get("task")),
        "dimensions": body.get("dimensions"),
        "encoding_format": body.get("embedding_type"),
    }


def _jina_ranks(body: Body, answer: Body) -> Body:
    results = _ranks(answer)
    if body.get("return_documents", True):
        for result in results:
            result["document"] = {"text": body["documents"][result["index"]]}
    return {key: answer[key] for key in ("model", "object", "usage")} | {"results": results}


JINA = Dialect(
    routes={
        "/v1/embeddings": Route("/embeddings", _jina_embed, lambda _, told: told, "input", 512),
        "/v1/rerank": Route("/rerank", dict, _jina_ranks, "documents", 2048),
    },
    tell=_nothing,
    complain=lambda message: {"detail": message},
    refusals={
        Reason.KEY: (401, "Unauthorized"),
        Reason.MODEL: (400, "Validation error: model '{}' not found"),
        Reason.SIZE: (400, "Validation error: Each input list can contain at most 512 items."),
    },
)


def _voyage_embed(body: Body) -> Body:
    return {
        "model": body["model"],
        "input": with_task(body["input"], body.get("input_type")),
        "dimensions": body.get("output_dimension"),
        "encoding_format": body.get("encoding_format"),
    }


def _voyage_rerank(body: Body) -> Body:
    return {**body, "top_n": body.get("top_k")}


def _voyage_usage(answer: Body) -> Body:
    tokens = answer["usage"]["total_tokens"]
    return {"object": "list", "model": answer["model"], "usage": {"total_tokens": tokens}}


def _voyage_vectors(body: Body, answer: Body) -> Any:  # noqa: ARG001 - the same for all
    return _voyage_usage(answer) | {"data": answer["data"]}


def _voyage_ranks(body: Body, answer: Body) -> Any:  # noqa: ARG001 - the same for all
    return _voyage_usage(answer) | {"data": _ranks(answer)}


VOYAGE = Dialect(
    routes={
        "/v1/embeddings": Route("/embeddings", _voyage_embed, _voyage_vectors, "input", 1000),
        "/v1/rerank": Route("/rerank", _voyage_rerank, _voyage_ranks, "documents", 1000),
    },
    tell=_nothing,
    complain=lambda message: {"detail": message},
    refusals={
        Reason.KEY: (401, "Provided API key is invalid."),
        Reason.MODEL: (400, "Model {} is not supported. Supported models are []."),
        Reason.SIZE: (400, "The batch size limit is 1000. Your batch size is {}."),
    },
)
