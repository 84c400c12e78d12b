"""What retrievers and rerankers share: their answers are documents, and so many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.configurable import DynamicRunnable
from pydantic import BaseModel

from failover_core.errors import ConfigurationError, MalformedResponseError

M = TypeVar("M", bound=BaseModel)

_LIMITS = ("k", "top_k", "top_n")
_WRAPPERS: tuple[tuple[type[BaseModel], str], ...] = (
    (RunnableBindingBase, "bound"),
    (DynamicRunnable, "default"),
)


def checked_documents(answer: Any, *, of: str) -> Sequence[Document]:
    """Return an answer if it is documents.

    Args:
        answer: of a child.
        of: what the child is, for the message.

    Raises:
        MalformedResponseError: it is something else.
    """
    if isinstance(answer, list | tuple) and all(isinstance(one, Document) for one in answer):
        return answer
    message = f"the {of} answered with {type(answer).__name__}, not with a list of documents"
    raise MalformedResponseError(message)


def checked_query(query: Any, *, of: str) -> str:
    """Return the query of a call if it is text, so that no target is blamed for another.

    Args:
        query: as it came.
        of: the class that is called, for the message.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(query, str):
        return query
    message = f"{of}: the query is {type(query).__name__}; it must be a string"
    raise ConfigurationError(message)


def with_limit(child: M, count: int) -> M:
    """Return a child whose own number of documents, if it has one, is ``count``.

    A number that is None stays: the child then returns all it has.
    """
    limits = {
        name: count
        for name in _LIMITS
        if name in type(child).model_fields
        and isinstance(own := getattr(child, name), int)
        and own != count
    }
    return child.model_copy(update=limits) if limits else child


def told_k(child: Any, k: int) -> tuple[Any, dict[str, int]]:
    """Return a retriever and the arguments of its call, so that it looks for ``k`` documents.

    Retrievers learn it from an argument, a field or both; other runnables cannot be told.
    """
    if isinstance(child, BaseRetriever):
        can_be_told = takes(type(child)._get_relevant_documents, "k")
        return with_limit(child, k), {"k": k} if can_be_told else {}
    for kind, inside in _WRAPPERS:
        if isinstance(child, kind):
            wrapped, arguments = told_k(getattr(child, inside), k)
            return child.model_copy(update={inside: wrapped}), arguments
    return child, {}


@lru_cache(maxsize=1024)  # a signature costs more than all else in a call
def takes(function: Callable[..., Any], argument: str) -> bool:
    """Return whether a function can be called with an argument of that name."""
    parameters = signature(function).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return argument in parameters or Parameter.VAR_KEYWORD in kinds
