"""The error bodies of real servers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from failover_core.testing.faults.answers import error_body
from failover_core.testing.framing import Reply


class Reason(StrEnum):
    """Why a healthy server refuses a request, where vendors have words of their own for it."""

    KEY = "key"
    MODEL = "model"
    SIZE = "size"
    OTHER = "other"


class ProtocolError(Exception):
    """A request that a healthy server refuses; carries the refusal, in Infinity's words."""

    def __init__(self, reply: Reply, reason: Reason = Reason.OTHER, subject: object = "") -> None:
        super().__init__(f"status {reply.status}")
        self.reply = reply
        self.reason = reason
        self.subject = subject


def not_found() -> ProtocolError:
    """No such path."""
    return ProtocolError(Reply(404, {"detail": "Not Found"}))


def wrong_method() -> ProtocolError:
    """A GET where a POST belongs, or the other way round."""
    return ProtocolError(Reply(405, {"detail": "Method Not Allowed"}))


def unauthorized(*, chat: bool) -> ProtocolError:
    """A missing or wrong bearer key; OpenAI's servers and Infinity word it differently."""
    body: dict[str, Any] = {"detail": "Unauthorized"}
    if chat:
        body = error_body(
            "Incorrect API key provided.", code="invalid_api_key", kind="invalid_request_error"
        )
    return ProtocolError(Reply(401, body, {"www-authenticate": "Bearer"}), Reason.KEY)


def invalid(value: Any, field: str, kind: str, message: str) -> ProtocolError:
    """A field that does not validate: the whole value is echoed, however long it is."""
    detail = {"type": kind, "loc": ["body", field], "msg": message, "input": value}
    return ProtocolError(Reply(422, {"detail": [detail]}))


def no_items(value: Any, field: str) -> ProtocolError:
    """An empty list, or something else where a list belongs."""
    if value == []:
        message = "List should have at least 1 item after validation, not 0"
        return invalid(value, field, "too_short", message)
    return invalid(value, field, "list_type", "Input should be a valid list")


def too_many_items(value: list[Any], field: str, limit: int) -> ProtocolError:
    """A list longer than the server takes."""
    message = f"List should have at most {limit} items after validation, not {len(value)}"
    refusal = invalid(value, field, "too_long", message)
    refusal.reason, refusal.subject = Reason.SIZE, len(value)
    return refusal


def not_an_object(content: bytes) -> ProtocolError:
    """A body that is no JSON object."""
    text = content.decode(errors="replace")
    return invalid(text, "", "json_invalid", "JSON decode error")


def unknown_model(model: str, known: list[str]) -> ProtocolError:
    """Infinity's answer to a model that it does not serve."""
    message = (
        f"Invalid model: Engine for model name `{model}` not found. "
        f"Available model names are {known}"
    )
    return ProtocolError(Reply(400, error_body(message, code=400)), Reason.MODEL, model)


def model_not_deployed(model: str, capability: str, capabilities: list[str]) -> ProtocolError:
    """Infinity's answer to a model of another kind."""
    message = (
        f"ModelNotDeployedError: model=`{model}` does not support `{capability}`. "
        f"Reason: the loaded model can only {capabilities}"
    )
    return ProtocolError(Reply(400, error_body(message, code=400)), Reason.MODEL, model)


def unknown_chat_model(model: str) -> ProtocolError:
    """OpenAI's answer to a model that it does not serve."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    body = error_body(message, code="model_not_found", kind="invalid_request_error")
    return ProtocolError(Reply(404, body))
