"""What is bound to a pool of chat models, and put into each provider's words per attempt.

Providers differ in how they want tools and schemas. A binding therefore keeps them as they were
given, and looks like OpenAI's words to everyone else: traces, cache keys, agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableParallel, RunnableSequence
from langchain_core.utils.function_calling import convert_to_openai_tool

from failover_core.errors import UnsupportedError
from langchain_failover.structured import Parser

TRACING_ONLY = ("ls_structured_output_format", "structured_output_format")
"""Arguments that LangChain reads for traces, and takes out before a model is called."""

_KEPT = 16
"""Models whose arguments a binding remembers."""


def in_words_of(model: BaseChatModel, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call as one of the children takes them."""
    bound = [value for value in arguments.values() if isinstance(value, Bound)]
    if not bound:
        return arguments
    translated: dict[str, Any] = {}
    for one in bound:
        translated |= one.in_words_of(model)
    # What a later bind() or the call itself says goes over what was bound with the tools.
    said_since = {
        name: value
        for name, value in arguments.items()
        if not isinstance(value, Bound)
        and not any(value is one.options.get(name, one) for one in bound)
    }
    return translated | said_since


class Bound:
    """Something bound, as it was given.

    Attributes:
        what: it is, in a word or two.
        options: the further arguments it was bound with.
    """

    what: ClassVar[str]
    options: dict[str, Any]

    def __init__(self, options: dict[str, Any], parser: Parser | None) -> None:
        self.options = options
        self._parser = parser
        self._known: list[tuple[BaseChatModel, Mapping[str, Any]]] = []

    def in_words_of(self, model: BaseChatModel) -> Mapping[str, Any]:
        """Return the arguments with which a model is to be called, made once for each model.

        Raises:
            UnsupportedError: the model cannot take what is bound.
        """
        for known, arguments in self._known:
            if known is model:
                return arguments
        try:
            arguments = self._bound_to(model)
        except Exception as error:
            message = f"{type(model).__name__} cannot take {self.what} ({type(error).__name__})"
            raise UnsupportedError(message) from error
        # A configurable model is a new object on every call, which nobody will ask for again.
        self._known = [*self._known[1 - _KEPT :], (model, arguments)]
        return arguments

    def check(self, result: ChatResult) -> None:
        """Check an answer that was to keep to a schema.

        Raises:
            UnsupportedError: it does not.
        """
        if self._parser is None:
            return
        try:
            answer = self._parser.parse_result(list(result.generations))
        except Exception as error:
            message = f"the answer does not keep to its schema ({type(error).__name__})"
            raise UnsupportedError(message) from error
        if answer is None:
            message = "the answer does not keep to its schema: it has nothing of it"
            raise UnsupportedError(message)

    def _bound_to(self, model: BaseChatModel) -> Mapping[str, Any]:
        """Make those arguments."""
        raise NotImplementedError


class BoundTools(list[Any], Bound):
    """Tools: a list of OpenAI's dicts that knows what it was made of."""

    what = "these tools"

    def __init__(
        self, tools: Sequence[Any], options: dict[str, Any], parser: Parser | None = None
    ) -> None:
        list.__init__(self, (_openai_tool(tool) for tool in tools))
        Bound.__init__(self, options, parser)
        self._tools = tools

    def _bound_to(self, model: BaseChatModel) -> Mapping[str, Any]:
        """Return what the model's own ``bind_tools`` makes of the tools."""
        return _arguments_of(model.bind_tools(self._tools, **self.options))


class BoundSchema(dict[str, Any], Bound):
    """A schema for the answer: OpenAI's ``response_format`` that knows what it was made of."""

    what = "this schema"

    def __init__(self, schema: Any, method: str, options: dict[str, Any], parser: Parser) -> None:
        dict.__init__(self, type="json_object")
        Bound.__init__(self, options, parser)
        if method == "json_schema":
            function = convert_to_openai_tool(schema)["function"]
            named = {"name": function["name"], "schema": function["parameters"]}
            self.update(type="json_schema", json_schema=named)
        self._schema = schema
        self._method = method

    def _bound_to(self, model: BaseChatModel) -> Mapping[str, Any]:
        """Return what the model's own ``with_structured_output`` binds."""
        chain = model.with_structured_output(
            self._schema, method=self._method, include_raw=True, **self.options
        )
        first = chain.first if isinstance(chain, RunnableSequence) else chain
        raw = first.steps__.get("raw") if isinstance(first, RunnableParallel) else None
        return _arguments_of(raw)


def _arguments_of(binding: Runnable[Any, Any] | None) -> Mapping[str, Any]:
    if not isinstance(binding, RunnableBinding):
        message = f"the model binds in a way of its own ({type(binding).__name__})"
        raise NotImplementedError(message)
    return binding.kwargs


def _openai_tool(tool: Any) -> Any:
    try:
        return convert_to_openai_tool(tool)
    except (ValueError, TypeError):  # a provider's built-in tool, which has words of its own
        return tool
