"""What a pool of chat models remembers of its models for traces, and when it asks them again."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import Field

from langchain_failover import FailoverChatModel
from tests.langchain.children import Runs, Told


class Asked(Told):
    """As ``Told``; counts how often it is asked what it is."""

    questions: list[str] = Field(default_factory=list)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        self.questions.append("parameters")
        return super()._identifying_params

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        self.questions.append("tracing")
        return super()._get_ls_params(stop, **kwargs)


def traced(model: BaseChatModel) -> tuple[list[dict[str, Any]], str | None]:
    """Return what a call shows of its targets' parameters, and of the model to LangSmith."""
    runs = Runs()
    model.invoke("Hello", {"callbacks": [runs]})
    return runs.params[0]["targets"], model._get_ls_params().get("ls_model_name")


def test_models_are_asked_once_what_they_are() -> None:
    first, second = Asked(), Asked()
    model = FailoverChatModel(targets=[first, second])

    for _ in range(3):
        model.bind_tools([]).invoke("Hello")

    assert first.questions == ["parameters", "tracing"]
    assert second.questions == ["parameters"]


def test_a_field_that_is_assigned_to_shows_in_the_next_trace() -> None:
    child = Told(model_name="old")
    model = FailoverChatModel(targets=[child, Told(model_name="other")])
    assert traced(model)[0][0]["model_name"] == "old"

    child.model_name = "new"

    targets, name = traced(model)
    assert ([one["model_name"] for one in targets], name) == (["new", "other"], "new")


def test_what_a_config_chooses_shows_in_the_trace_of_its_call() -> None:
    child = Told(model_name="usual").configurable_fields(model_name=ConfigurableField("name"))
    chain = RunnableLambda(str) | FailoverChatModel(targets=[child])
    runs = Runs()

    for chosen in ({"name": "chosen"}, {}):
        chain.invoke("Hello", {"callbacks": [runs], "configurable": chosen})

    assert [params["targets"][0]["model_name"] for params in runs.params] == ["chosen", "usual"]


def test_a_pool_among_the_targets_is_asked_again() -> None:
    inner = Told(model_name="old")
    model = FailoverChatModel(targets=[FailoverChatModel(targets=[inner])])
    traced(model)

    inner.model_name = "new"

    assert traced(model)[0][0]["targets"][0]["model_name"] == "new"


@pytest.mark.parametrize("stop", [None, ["now"]])
def test_the_stop_of_a_binding_shows_unless_the_call_has_its_own(stop: list[str] | None) -> None:
    model = FailoverChatModel(targets=[Told().bind(stop=["later"])])

    assert model._get_ls_params(stop=stop)["ls_stop"] == (stop or ["later"])


def test_what_one_call_does_to_its_parameters_does_not_reach_the_next() -> None:
    model = FailoverChatModel(targets=[Told()])

    model._get_ls_params()["ls_model_name"] = "spoilt"
    model._get_invocation_params()["targets"] = "spoilt"

    assert traced(model)[1] == "told"
    assert traced(model)[0][0]["type"] == "told"
