"""Pools of chat models by name, as ``init_chat_model`` builds a single one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from failover_core import ConfigurationError
from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel
from tests.langchain.children import Told
from tests.langchain.conftest import Door

Servers = tuple[FaultServer, FaultServer]


async def test_models_by_name_fail_over(door: Door, servers: Servers) -> None:
    first, second = ({"model": "openai:tiny", "base_url": f"{one.url}/v1"} for one in servers)
    model = FailoverChatModel.from_models(first, second, api_key="sk-test")
    servers[0].stop()

    answer = await door(model, "Hello")

    assert answer.text
    assert answer.response_metadata["failover"]["failed_over"] is True


def child_of(*models: Any, **options: Any) -> ChatOpenAI:
    model = FailoverChatModel.from_models(*models, api_key="sk-test", **options)
    child = model.targets[0].client
    assert isinstance(child, ChatOpenAI)
    return child


def test_sdks_neither_retry_nor_wait_for_minutes_unless_they_are_told_to() -> None:
    child = child_of("openai:tiny")
    assert (child.max_retries, child.request_timeout) == (0, 60.0)


@pytest.mark.parametrize("name", ["timeout", "request_timeout"])
def test_what_is_given_goes_before_the_defaults(name: str) -> None:
    child = child_of("openai:tiny", max_retries=3, **{name: 5})
    assert (child.max_retries, child.request_timeout) == (3, 5)


def test_options_hold_for_every_model_and_a_models_own_go_first() -> None:
    model = FailoverChatModel.from_models(
        "openai:tiny", {"model": "openai:tiny", "temperature": 1}, api_key="sk-t", temperature=0.5
    )
    assert [target.client.temperature for target in model.targets] == [0.5, 1]


def test_a_model_object_stands_beside_names() -> None:
    told = Told()
    model = FailoverChatModel.from_models("openai:tiny", told, api_key="sk-test")
    assert model.targets[1].client is told


def test_policy_and_strategy_are_the_pools() -> None:
    model = FailoverChatModel.from_models(
        "openai:a", "openai:b", api_key="k", policy={"total_timeout": 9}, strategy="round_robin"
    )
    assert model.router.policy.total_timeout == 9
    assert model.strategy == "round_robin"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nobody:knows", r"models\[0\] \('nobody:knows'\) cannot be built: ValueError"),
        ({"temperature": 0}, r"models\[0\] names no model; give it a \"provider:model\""),
        ("", r"models\[0\] names no model"),
        ({"model": "openai:a", "temperature": "hot"}, r"'openai:a'\) cannot be built"),
    ],
)
def test_a_model_that_cannot_be_built_is_named(model: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        FailoverChatModel.from_models(model, api_key="sk-test")


def test_no_model_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="targets is empty"):
        FailoverChatModel.from_models()


def test_a_missing_providers_package_is_named() -> None:
    with pytest.raises(ImportError, match="langchain-fireworks"):
        FailoverChatModel.from_models("fireworks:some-model")


def test_without_langchain_the_install_line_is_said() -> None:
    script = (
        "import sys\n"
        "sys.modules['langchain'] = sys.modules['langchain.chat_models'] = None\n"
        "from langchain_failover import FailoverChatModel\n"
        "FailoverChatModel.from_models('openai:tiny')\n"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "needs langchain, which is not installed: pip install" in done.stderr
