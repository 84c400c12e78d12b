"""LangChain's own suites for chat models: all well, the first target dead, and dying as it answers.

What is switched off here is off because the children, ``ChatOpenAI`` over OpenAI's chat
completions, cannot do it; the reason stands beside each switch.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from langchain_tests.unit_tests.chat_models import ChatModelTests

from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel
from tests.langchain.children import openai_child

Servers = tuple[FaultServer, FaultServer]


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    """Leave the traffic alone: our servers stand for a record of it."""
    return {"ignore_localhost": True}


class Healthy:
    """Two children over two servers, both of them well."""

    on_broken_stream = "raise"

    def spoil(self, primary: FaultServer) -> None:
        """Do to the first server what the class is about."""

    @pytest.fixture(autouse=True)
    def _children(self, servers: Servers) -> None:
        self.spoil(servers[0])
        self.children = [openai_child(server, stream_usage=True) for server in servers]

    @property
    def chat_model_class(self) -> type[FailoverChatModel]:
        return FailoverChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        policy = {"on_broken_stream": self.on_broken_stream}
        return {"targets": self.children, "policy": policy}


class DeadPrimary(Healthy):
    """The first server refuses."""

    def spoil(self, primary: FaultServer) -> None:
        primary.stop()


class DyingPrimary(Healthy):
    """The first server dies in each answer: in a stream after its first chunk."""

    on_broken_stream = "resume"

    def spoil(self, primary: FaultServer) -> None:
        primary.fault = faults.Dying()


class Unit(ChatModelUnitTests):
    """The unit suite.

    Its ``test_serdes`` skips itself: a pool is not serializable in LangChain's own format, which
    knows only objects whose constructor takes plain values. Its copies and pickles are tested
    elsewhere.
    """

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        # A generator, so that the child is made, and reads its key, within the suite's environment.
        targets = (_made_from_environment() for _ in range(1))
        return {"OPENAI_API_KEY": "sk-environment"}, {"targets": targets}, {"model_name": "tiny"}


def _made_from_environment() -> Any:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - slow to import

    return ChatOpenAI(model="tiny", timeout=10, max_retries=0)


# The suite sends files without names, of which langchain-core warns; what it would measure of a
# stream it measures only on a record of real traffic.
@pytest.mark.filterwarnings("ignore:OpenAI may require a filename")
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
class Integration(ChatModelIntegrationTests):
    """The integration suite."""

    supports_model_override = True
    model_override_value = "another-model"
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    enable_vcr_tests = True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:  # type: ignore[override]
        # Not "cache_creation_input": OpenAI's protocol has no such number.
        told = ["audio_input", "audio_output", "reasoning_output", "cache_read_input"]
        return {"invoke": told, "stream": told}

    @pytest.fixture(autouse=True)
    def _files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the suite, which downloads its picture, sound and PDF, a few bytes instead."""
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nobody is asked")
        monkeypatch.setattr(httpx, "get", lambda *_args, **_kwargs: httpx.Response(200, text="%"))

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
        return self._ask([HumanMessage([{"type": "text", "text": "Describe it"}, sound])], stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        voice = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
        return self._ask([HumanMessage("Say hello")], stream, **voice)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        answer = self._ask([HumanMessage("Think hard")], stream, reasoning_effort="low")
        assert _details(answer, "output_token_details")["reasoning"] > 0
        return answer

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        answer = self._ask([SystemMessage("Be kind and brief"), HumanMessage("Hello")], stream)
        assert _details(answer, "input_token_details")["cache_read"] == 4
        return answer

    def _ask(self, messages: list[Any], stream: bool, **kwargs: Any) -> AIMessage:  # noqa: FBT001
        model = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke(messages, **kwargs)
        first, *others = model.stream(messages, **kwargs)
        return sum(others, first)


def _details(answer: AIMessage, name: str) -> dict[str, int]:
    assert answer.usage_metadata
    return answer.usage_metadata[name]  # type: ignore[literal-required, no-any-return]


class BySchema(ChatModelTests):
    """The suite's tests of structured output, by another of OpenAI's methods than tools.

    Without the one for classes of pydantic 1, which ``ChatOpenAI`` refuses here by itself.
    """

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    test_structured_output = ChatModelIntegrationTests.test_structured_output
    test_structured_output_async = ChatModelIntegrationTests.test_structured_output_async
    test_structured_output_optional_param = (
        ChatModelIntegrationTests.test_structured_output_optional_param
    )


class TestUnit(Healthy, Unit):
    """The unit suite."""


class TestUnitWithDeadPrimary(DeadPrimary, Unit):
    """The unit suite, the first target dead."""


class TestUnitWithDyingPrimary(DyingPrimary, Unit):
    """The unit suite, the first target dying in each of its answers."""


class TestIntegration(Healthy, Integration):
    """The integration suite."""


class TestIntegrationWithDeadPrimary(DeadPrimary, Integration):
    """The integration suite, the first target dead."""


class TestIntegrationWithDyingPrimary(DyingPrimary, Integration):
    """The integration suite, the first target dying in each of its answers."""


class TestStructuredOutputBySchema(Healthy, BySchema):
    """Structured output by a schema."""


class TestStructuredOutputBySchemaWithDeadPrimary(DeadPrimary, BySchema):
    """Structured output by a schema, the first target dead."""


class TestStructuredOutputBySchemaWithDyingPrimary(DyingPrimary, BySchema):
    """Structured output by a schema, the first target dying in each of its answers."""
