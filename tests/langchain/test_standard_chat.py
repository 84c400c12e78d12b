"""LangChain's own suites for chat models, with a healthy and with a dead first target."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel
from tests.langchain.children import openai_child


class Wrapping:
    """Two children over two servers, both of them well."""

    primary_is_dead = False

    @pytest.fixture(autouse=True)
    def _servers(self, servers: tuple[FaultServer, FaultServer]) -> None:
        if self.primary_is_dead:
            servers[0].stop()
        self.children = [openai_child(server, stream_usage=True) for server in servers]

    @property
    def chat_model_class(self) -> type[FailoverChatModel]:
        return FailoverChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"targets": self.children}


class TestUnit(Wrapping, ChatModelUnitTests):
    """The unit suite."""


class TestIntegration(Wrapping, ChatModelIntegrationTests):
    """The integration suite."""

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another-model"


class TestUnitWithDeadPrimary(TestUnit):
    """The unit suite, the first target dead."""

    primary_is_dead = True


class TestIntegrationWithDeadPrimary(TestIntegration):
    """The integration suite, the first target dead."""

    primary_is_dead = True
