"""Copies that share what they learn, keys that stay secret, and what others ask a model for."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any, cast

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.load import dumps
from langchain_core.runnables import ConfigurableField, RunnableConfig

from failover_core.errors import AllTargetsFailedError, ConfigurationError
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel, FailoverPolicy, Target
from tests.langchain.children import Runs, Told, openai_child

CANARY = "sk-canary-0123456789"


def test_every_copy_shares_the_router(chat: FailoverChatModel) -> None:
    copies: list[Any] = [
        chat.model_copy(),
        chat.model_copy(update={"tags": ["one"]}),
        chat.model_copy(deep=True),
        copy.copy(chat),
        copy.deepcopy(chat),
        chat.bind(temperature=0).bound,
        chat.bind_tools([]).bound,  # type: ignore[attr-defined]
        chat.with_config(tags=["one"]).bound,  # type: ignore[attr-defined]
    ]

    assert all(one.router is chat.router for one in copies)


def test_a_configurable_pool_shares_the_router_between_its_calls(
    chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    configurable = chat.configurable_fields(streaming=ConfigurableField("streams"))
    servers[0].stop()

    for _ in range(3):
        configurable.invoke("Hello", {"configurable": {"streams": True}})

    status = chat.router.status()
    assert (status.succeeded, status.failed_over) == (3, 3)


def test_a_copy_with_other_settings_has_a_router_of_its_own(chat: FailoverChatModel) -> None:
    policy = FailoverPolicy(total_timeout=5)

    other = chat.model_copy(update={"policy": policy})

    assert other.router.policy is policy
    assert chat.router.policy.total_timeout is None
    assert other.router is other.router


def test_a_pool_of_urls_pickles_without_its_key(
    servers: tuple[FaultServer, FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_KEY", CANARY)
    urls = [f"{server.url}/v1" for server in servers]
    model = FailoverChatModel.from_urls(
        urls, model="tiny", api_key="${CHAT_KEY}", policy={"total_timeout": 9}, temperature=0
    )

    data = pickle.dumps(model)
    again = cast("FailoverChatModel", pickle.loads(data))  # noqa: S301

    assert CANARY.encode() not in data
    assert again.router.policy.total_timeout == 9
    assert [one.name for one in again.router.targets] == [one.name for one in model.router.targets]
    assert again.invoke("Hello").content == "You said: Hello"
    assert servers[0].requests[-1].headers["authorization"] == f"Bearer {CANARY}"


def test_a_pool_with_a_literal_key_refuses_to_be_pickled_and_does_not_tell_it() -> None:
    model = FailoverChatModel.from_urls("http://127.0.0.1:9/v1", model="tiny", api_key=CANARY)

    with pytest.raises(ConfigurationError, match="api_key") as caught:
        pickle.dumps(model)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_no_key_shows_anywhere(servers: tuple[FaultServer, FaultServer]) -> None:
    for server in servers:
        server.fault = faults.Status(401, body={"error": {"message": f"bad key {CANARY}"}})
    runs = Runs()
    urls = [f"{server.url}/v1" for server in servers]
    model = FailoverChatModel.from_urls(urls, model="tiny", api_key=CANARY)

    with pytest.raises(AllTargetsFailedError) as caught:
        model.invoke("Hello", RunnableConfig(callbacks=[runs]))

    seen = {
        "repr": repr(model),
        "str": str(model),
        "dumps": dumps(model),
        "dict": repr(model.asdict()),
        "fields": repr(model.model_dump()),
        "parameters": repr(runs.params),
        "cache key": model._get_llm_string(),
        "error": str(caught.value),
        "events": repr(list(model.router.events)),
        "status": repr(model.router.status()),
        "targets": repr(model.router.targets),
    }
    assert [sink for sink, text in seen.items() if CANARY in text] == []


def test_without_a_key_the_one_of_the_environment_is_not_sent(
    servers: tuple[FaultServer, FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)

    FailoverChatModel.from_urls(f"{servers[0].url}/v1", model="tiny").invoke("Hello")

    assert CANARY not in servers[0].requests[-1].headers["authorization"]


def test_a_redirect_is_not_followed(
    chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    with FaultServer() as elsewhere:
        servers[0].fault = faults.Redirect(location=f"{elsewhere.url}/v1/chat/completions")

        answer = chat.invoke("Hello")

        assert not elsewhere.requests
    assert answer.response_metadata["failover"]["failed_over"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "small"}, {"model": "large"}),
        ({"temperature": 0}, {"temperature": 1}),
        ({"base_url": "http://127.0.0.1:1/v1"}, {"base_url": "http://127.0.0.1:2/v1"}),
    ],
)
def test_the_cache_key_tells_other_children_apart(one: Any, other: Any) -> None:
    def key(options: Any) -> str:
        with FaultServer() as server:
            child = openai_child(server).model_copy(update={})
        given = {"api_key": "sk-x", "base_url": "http://127.0.0.1:3/v1", "model": "m", **options}
        return FailoverChatModel(targets=[Target(type(child)(**given), name="x")])._get_llm_string()

    assert key(one) != key(other)
    assert key(one) == key(one)


def test_one_pool_does_not_answer_from_the_cache_of_another() -> None:
    cache = InMemoryCache()
    first = FailoverChatModel(targets=[Told(answer="one", model_name="one")], cache=cache)
    second = FailoverChatModel(targets=[Told(answer="two", model_name="two")], cache=cache)

    assert (first.invoke("Hello").content, second.invoke("Hello").content) == ("one", "two")


def test_tool_choice_is_part_of_the_cache_key() -> None:
    child = Told()
    model = FailoverChatModel(targets=[child], cache=InMemoryCache())

    model.bind_tools([], tool_choice="any").invoke("Hello")
    model.bind_tools([], tool_choice="none").invoke("Hello")

    assert len(child.asked) == 2


def test_the_parameters_name_every_child_and_mask_what_looks_like_a_key() -> None:
    model = FailoverChatModel(targets=[Target(Told(), name="a"), Target(Told(), name="b")])

    assert model._identifying_params["targets"] == [
        {"name": "a", "type": "told", "model_name": "told", "secret_key": "***"},
        {"name": "b", "type": "told", "model_name": "told", "secret_key": "***"},
    ]


def test_the_profile_is_what_all_children_can_do() -> None:
    def child(**profile: Any) -> BaseChatModel:
        return Told(profile=cast("ModelProfile", profile))

    rich = child(tool_calling=True, image_inputs=True, max_input_tokens=1000, name="rich")
    poor = child(tool_calling=True, image_inputs=False, max_input_tokens=500, name="poor")

    assert FailoverChatModel(targets=[rich, poor]).profile == {
        "tool_calling": True,
        "image_inputs": False,
        "max_input_tokens": 500,
    }
    assert FailoverChatModel(targets=[rich, Told()]).profile is None


def test_tokens_are_counted_by_the_first_child() -> None:
    class Counting(Told):
        def get_token_ids(self, text: str) -> list[int]:
            return list(range(len(text.split())))

    assert FailoverChatModel(targets=[Counting(), Told()]).get_num_tokens("one two three") == 3
