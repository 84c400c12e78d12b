"""From an answer to an object of a schema."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    BaseGenerationOutputParser,
    BaseOutputParser,
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

Method = Literal["function_calling", "json_schema", "json_mode"]

Parser = BaseOutputParser[Any] | BaseGenerationOutputParser[Any]


def parsed(
    bound: Runnable[LanguageModelInput, AIMessage],
    parser: Parser,
    *,
    include_raw: bool,
) -> Runnable[LanguageModelInput, Any]:
    """Return a bound model followed by the parser of its answers.

    Args:
        bound: the model, told to answer in a schema.
        parser: makes an object of the schema out of an answer.
        include_raw: whether to answer ``{"raw", "parsed", "parsing_error"}``.
    """
    if not include_raw:
        return bound | parser
    with_result = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    with_error = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableParallel(raw=bound) | with_result.with_fallbacks(
        [with_error], exception_key="parsing_error"
    )


def parser_for(schema: Any, method: Method) -> Parser:
    """Return what makes objects of a schema out of answers.

    Args:
        schema: what ``with_structured_output`` takes.
        method: how the model is told to keep to it.
    """
    is_pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method == "function_calling":
        if is_pydantic:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    return PydanticOutputParser(pydantic_object=schema) if is_pydantic else JsonOutputParser()
