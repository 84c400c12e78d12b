"""What a caller chooses for one call: the target to try first, and fields of the children."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField, RunnableConfig, RunnableLambda
from langgraph.graph import MessagesState, StateGraph

from failover_core import ConfigurationError
from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel, Target
from tests.langchain.children import Runs, Told
from tests.langchain.conftest import Door

PREFERS_B: RunnableConfig = {"configurable": {"failover": "b"}}


@pytest.fixture
def model() -> FailoverChatModel:
    """A pool of two."""
    return FailoverChatModel(targets=[Target(Told(answer=name), name=name) for name in ("a", "b")])


async def test_the_preferred_target_of_a_call_is_tried_first(
    door: Door, model: FailoverChatModel
) -> None:
    assert (await door(model, "Hello", preferred_target="b")).text == "b"
    assert (await door(model, "Hello")).text == "a"


async def test_a_bound_preference_holds_for_every_call(
    door: Door, model: FailoverChatModel
) -> None:
    assert (await door(model.bind(preferred_target="b"), "Hello")).text == "b"


async def test_a_config_names_the_target_to_try_first(door: Door, model: FailoverChatModel) -> None:
    assert (await door(model, "Hello", PREFERS_B)).text == "b"
    assert (await door(model.with_config(PREFERS_B), "Hello")).text == "b"


async def test_the_config_of_a_chain_holds_for_the_model_in_it(
    door: Door, model: FailoverChatModel
) -> None:
    shout: RunnableLambda[str, str] = RunnableLambda(lambda text: f"{text}!")
    chain = shout | model
    assert (await door(chain, "Hello", PREFERS_B)).text == "b"


async def test_the_config_of_a_graph_holds_for_the_models_in_its_nodes(
    model: FailoverChatModel,
) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.set_entry_point("ask")
    answer = await graph.compile().ainvoke({"messages": [HumanMessage("Hello")]}, PREFERS_B)

    assert answer["messages"][-1].text == "b"


async def test_a_config_may_name_a_target_of_another_pool_in_the_chain(
    door: Door, model: FailoverChatModel
) -> None:
    assert (await door(model, "Hello", {"configurable": {"failover": "elsewhere"}})).text == "a"


async def test_an_argument_that_names_no_target_is_refused(
    door: Door, model: FailoverChatModel
) -> None:
    with pytest.raises(ConfigurationError, match="there is no target 'z'; it has a, b"):
        await door(model, "Hello", preferred_target="z")


async def test_a_preferred_target_that_is_down_is_failed_over_from(door: Door) -> None:
    model = FailoverChatModel(
        targets=[Target(Told(answer="a"), name="a"), Target(Told(answer=OSError()), name="b")]
    )
    answer = await door(model, "Hello", PREFERS_B)

    assert answer.text == "a"
    assert answer.response_metadata["failover"]["errors"] == [
        {"target": "b", "error_class": "connection"}
    ]


async def test_children_never_see_what_was_chosen_among_them(
    door: Door, model: FailoverChatModel
) -> None:
    child = Told()
    model = FailoverChatModel(targets=[Target(child, name="b")])

    await door(model, "Hello", PREFERS_B, preferred_target="b")

    assert child.asked[0].keys() == {"messages", "stop"}


async def test_what_graphs_keep_in_a_config_does_not_reach_traces(
    door: Door, model: FailoverChatModel
) -> None:
    runs = Runs()
    kept = {"configurable": {"failover": "b", "__pregel_send": print, "object": object()}}

    await door(model, "Hello", {**kept, "callbacks": [runs]})

    assert runs.params[0]["configurable"] == {"failover": "b"}


# Children that a config chooses


@pytest.fixture
def configurable(servers: tuple[FaultServer, FaultServer]) -> FailoverChatModel:
    """A pool whose one target is a model that a config may rename."""
    child = init_chat_model(
        "tiny",
        model_provider="openai",
        configurable_fields=("model",),
        base_url=f"{servers[0].url}/v1",
        api_key="sk-test",
        max_retries=0,
    )
    return FailoverChatModel(targets=[child])


async def test_the_config_of_a_call_chooses_the_model_of_a_configurable_child(
    door: Door, configurable: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    answer = await door(configurable, "Hello", {"configurable": {"model": "other"}})

    assert answer.response_metadata["model_name"] == "other"
    assert (await door(configurable, "Hello")).response_metadata["model_name"] == "tiny"


async def test_the_config_of_a_call_chooses_fields_and_alternatives(door: Door) -> None:
    field = Told(answer="field").configurable_fields(answer=ConfigurableField("answer"))
    either = Told(answer="one").configurable_alternatives(
        ConfigurableField("which"), default_key="one", other=Told(answer="other")
    )

    changed = await door(
        FailoverChatModel(targets=[field]), "Hello", {"configurable": {"answer": "changed"}}
    )
    other = await door(
        FailoverChatModel(targets=[either]), "Hello", {"configurable": {"which": "other"}}
    )

    assert (changed.text, other.text) == ("changed", "other")


class Events(BaseCallbackHandler):
    """Counts the chat models that were started."""

    def __init__(self) -> None:
        self.started = 0

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.started += 1


async def test_a_call_with_a_config_is_one_run(door: Door, model: FailoverChatModel) -> None:
    events = Events()
    await door(model, "Hello", {**PREFERS_B, "callbacks": [events]})
    assert events.started == 1
