"""Wire formats as data: how the requests and answers of a vendor's API look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from failover_core.clients import answers
from failover_core.clients.dialogue import Post
from failover_core.clients.settings import ClientSettings
from failover_core.embedding import Kind
from failover_core.errors import ConfigurationError

Fields: TypeAlias = Mapping[str, Any]
"""Fields of a request's JSON."""


@dataclass(frozen=True, slots=True)
class EmbeddingWire:
    """How texts are sent to be embedded, and where the vectors are in the answer.

    Attributes:
        read: returns the vectors of an answer, unchecked, in the order of so many texts.
        path: below the base URL.
        model: field of the model's name; None where a server has only one.
        texts: field of the texts.
        dimension: field of the wanted dimension; None if it cannot be asked for.
        task: field that says what the texts are for; None if there is none.
        tasks: what it says if the user does not.
        truncate: the fields that ask to cut texts that are too long (True), or to refuse them.
        fixed: fields of every request.
    """

    read: Callable[[Any, int], list[Any]]
    path: str = "/embeddings"
    model: str | None = "model"
    texts: str = "input"
    dimension: str | None = "dimensions"
    task: str | None = None
    tasks: Mapping[Kind, str] = field(default_factory=dict)
    truncate: Mapping[bool, Fields] = field(default_factory=dict)
    fixed: Fields = field(default_factory=dict)

    def lacks(self, settings: ClientSettings) -> str | None:
        """Return the name of a setting that cannot be sent, or None."""
        if settings.truncate is not None and not self.truncate:
            return "truncate"
        if settings.output_dimension is not None and not self.dimension:
            return "output_dimension"
        if not self.task and (settings.query_task or settings.passage_task):
            return "query_task" if settings.query_task else "passage_task"
        return None

    def post(self, settings: ClientSettings, texts: list[str], kind: Kind) -> Post:
        """Return the request."""
        prefix = settings.prefix(kind)
        payload = {
            self.model: settings.model,
            self.texts: [prefix + text for text in texts] if prefix else texts,
            self.task: settings.task(kind, self.tasks.get(kind)),
            self.dimension: settings.output_dimension,
        }
        fields = {name: value for name, value in payload.items() if name and value is not None}
        if settings.truncate is not None:
            fields |= self.truncate[settings.truncate]
        return Post(self.path, {**fields, **self.fixed})


@dataclass(frozen=True, slots=True)
class RerankWire:
    """How documents are sent to be ranked, and where the ranks are in the answer.

    Attributes:
        path: below the base URL.
        model: field of the model's name; None where a server has only one.
        documents: field of the documents.
        top_n: field of the number of results; None where all are returned.
        truncate: as of ``EmbeddingWire``.
        fixed: fields of every request.
        results: field of the results in the answer; None if it is the list itself.
        score: field of a result's score.
    """

    path: str = "/rerank"
    model: str | None = "model"
    documents: str = "documents"
    top_n: str | None = "top_n"
    truncate: Mapping[bool, Fields] = field(default_factory=dict)
    fixed: Fields = field(default_factory=dict)
    results: str | None = "results"
    score: str = "relevance_score"

    def post(
        self, settings: ClientSettings, query: str, documents: list[str], top_n: int | None
    ) -> Post:
        """Return the request.

        Raises:
            ConfigurationError: ``top_n`` is below 1.
        """
        if top_n is not None and top_n < 1:
            message = f"top_n: is {top_n}; pass at least 1, or None for all"
            raise ConfigurationError(message)
        payload = {
            self.model: settings.model,
            "query": query,
            self.documents: documents,
            self.top_n: top_n,
        }
        fields = {name: value for name, value in payload.items() if name and value is not None}
        if settings.truncate is not None:
            fields |= self.truncate.get(settings.truncate, {})
        return Post(self.path, {**fields, **self.fixed})

    def found(self, document: Any) -> list[dict[str, Any]]:
        """Return the results of an answer, unchecked."""
        return answers.items(document, self.results)
