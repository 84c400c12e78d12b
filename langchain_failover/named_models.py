"""Chat models by their names, through LangChain's own ``init_chat_model``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from failover_core.errors import ConfigurationError

try:
    from langchain.chat_models import init_chat_model
except ImportError as error:
    _message = (
        "FailoverChatModel.from_models needs langchain, which is not installed: "
        'pip install "rag-failover[models]"'
    )
    raise ImportError(_message) from error

_DEFAULTS = {"max_retries": 0, "timeout": 60.0}
"""What SDKs would otherwise do by themselves: send again, and wait for ten minutes."""


def models_by_name(given: Iterable[Any], options: Mapping[str, Any]) -> list[Any]:
    """Return a chat model for each name; see ``FailoverChatModel.from_models``."""
    return [_model(one, options, place) for place, one in enumerate(given)]


def _model(given: Any, options: Mapping[str, Any], place: int) -> Any:
    if isinstance(given, str):
        arguments = {**options, "model": given}
    elif isinstance(given, Mapping):
        arguments = {**options, **given}
    else:
        return given
    where = f"FailoverChatModel.from_models: models[{place}]"
    if not arguments.get("model"):
        message = f'{where} names no model; give it a "provider:model"'
        raise ConfigurationError(message)
    try:
        model = init_chat_model(**arguments)
        defaults = _defaults(type(model), arguments)
        return init_chat_model(**defaults, **arguments) if defaults else model
    except ImportError:
        raise  # it says which package to install
    except Exception as error:
        message = f"{where} ({arguments['model']!r}) cannot be built: {type(error).__name__}"
        raise ConfigurationError(message) from error


def _defaults(kind: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults for the fields that a kind of model has and that were not given."""
    fields = getattr(kind, "model_fields", {})
    names = [{name, field.alias or name} for name, field in fields.items()]
    return {
        name: value
        for name, value in _DEFAULTS.items()
        if any(name in one and not one & arguments.keys() for one in names)
    }
