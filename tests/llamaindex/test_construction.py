"""Building the classes: what they take from targets, URLs and the environment, and what not."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, LLMMetadata
from llama_index.core.llms import MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import PromptTemplate
from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # type: ignore[import-untyped]
from llama_index.llms.openai import OpenAI

from failover_core import AllTargetsFailedError, ConfigurationError, FailoverPolicy, Target
from failover_core.clients import InfinityClient
from failover_core.testing import FaultServer
from failover_core.testing.faults import Redirect, Status
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank

Servers = tuple[FaultServer, FaultServer]

KEY = "sk-canary-0123456789abcdef"
CLASSES = [FailoverLLM, FailoverEmbedding, FailoverRerank]


def from_urls(cls: Any, urls: Any, **options: Any) -> Any:
    return cls.from_urls(urls, **({"model": "m"} | options))


def use(built: Any) -> str:
    """Ask anything of an object and return what it says."""
    if isinstance(built, FailoverLLM):
        return built.complete("Who?").text
    if isinstance(built, FailoverEmbedding):
        return str(built.get_query_embedding("Who?"))
    assert isinstance(built, FailoverRerank)
    return str(built.postprocess_nodes([], query_str="Who?"))


def test_each_class_is_what_llamaindex_expects() -> None:
    bases = (FunctionCallingLLM, BaseEmbedding, BaseNodePostprocessor)

    for cls, base in zip(CLASSES, bases, strict=True):
        assert issubclass(cls, base)
        assert cls.class_name() == cls.__name__
        assert "pip install" in str(cls.__doc__)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FailoverLLM(targets=[]), "targets is empty"),
        (lambda: FailoverLLM(targets="http://a"), "must be a list"),
        (lambda: FailoverLLM(targets=MockLLM()), "must be a list, not MockLLM"),  # type: ignore[arg-type]
        (lambda: FailoverLLM(targets=["http://a"]), r"targets\[0\].*from_urls"),
        (lambda: FailoverLLM(targets=[MockLLM(), object()]), r"targets\[1\] .*object; give an LLM"),
        (lambda: FailoverLLM(targets=[MockLLM]), "the class MockLLM"),
        (lambda: FailoverLLM(targets=[MockEmbedding(2)]), "MockEmbedding; give an LLM"),
        (lambda: FailoverEmbedding(targets=[MockLLM()]), "MockLLM; give an embedding"),
        (lambda: FailoverEmbedding(targets=[InfinityClient]), "the class InfinityClient"),
        (lambda: FailoverRerank(targets=[MockLLM()]), "MockLLM; give a reranker"),
        (lambda: FailoverRerank(targets=["http://a"]), "model"),
        (lambda: FailoverRerank(targets=[], top_n=0), "targets is empty"),
        (lambda: from_urls(FailoverRerank, "http://a", top_n=0), "top_n is 0"),
        (lambda: FailoverLLM(targets=[MockLLM()], strategy="lucky"), "lucky"),
        (lambda: FailoverLLM(targets=[MockLLM()], policy={"attempt_timeot": 1}), "attempt_timeout"),
        (lambda: FailoverLLM(targets=[MockLLM()], max_retries=3), "max_retries"),  # type: ignore[call-arg]
        (lambda: FailoverLLM(targets=[Target(MockLLM(), name="x")] * 2), "two targets are named"),
        (lambda: FailoverLLM(targets=[OpenAI(model="no-such", api_key="k")]), "context_window"),
        (lambda: from_urls(FailoverLLM, ""), "urls: is empty"),
        (lambda: from_urls(FailoverLLM, "localhost:1"), "http"),
        (lambda: from_urls(FailoverLLM, "http://u:p@a"), "credentials"),
        (lambda: from_urls(FailoverLLM, "http://a", temperatures=1), "did you mean 'temperature'"),
        (lambda: from_urls(FailoverLLM, "http://a", api_key="a\nb"), "api_key"),
        (lambda: from_urls(FailoverEmbedding, "http://a", provider="nobody"), "nobody"),
        (lambda: from_urls(FailoverEmbedding, "http://a", timeouts=1), "timeout"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(
    build: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


def test_metadata_is_what_all_targets_can_do() -> None:
    class Large(MockFunctionCallingLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(
                context_window=9000,
                num_output=500,
                is_function_calling_model=True,
                is_chat_model=True,
                model_name="large",
            )

    both = FailoverLLM(targets=[Large(), MockFunctionCallingLLM()])
    declared = FailoverLLM(targets=[Large(), Target(Large(), context_window=700)])

    assert both.metadata.context_window == 3900
    assert both.metadata.num_output == 500
    assert (both.metadata.model_name, both.metadata.is_chat_model) == ("large", True)
    assert both.metadata.is_function_calling_model
    assert declared.metadata.context_window == 700


def test_settings_of_the_prompt_are_the_first_targets_unless_given() -> None:
    children = [MockLLM(system_prompt="Be kind."), MockLLM()]

    adopted = FailoverLLM(targets=children).predict(PromptTemplate("Who?"))
    given = FailoverLLM(targets=children, system_prompt="Be brief.").predict(PromptTemplate("Who?"))

    assert adopted.startswith("Be kind.")
    assert given.startswith("Be brief.")


def test_a_target_that_retries_by_itself_or_never_gives_up_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    patient = OpenAILikeEmbedding(model_name="m", api_key="k", max_retries=10, timeout=600)

    FailoverLLM(targets=[OpenAI(model="gpt-4o", api_key="k", max_retries=3)])
    FailoverEmbedding(targets=[patient])

    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "3 times" in line and "max_retries=0" in line]
    assert [line for line in said if "10 times" in line and "max_retries=0" in line]
    assert [line for line in said if "600 s" in line and "attempt_timeout" in line]


def test_dumps_of_different_models_differ() -> None:
    one, other = (from_urls(FailoverLLM, "http://a", model=model) for model in ("m", "n"))

    assert one.to_dict() != other.to_dict()
    assert one.to_dict() == from_urls(FailoverLLM, "http://b", model="m", api_key=KEY).to_dict()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.9},
        {"max_tokens": 7},
        {"reasoning_effort": "high"},
        {"additional_kwargs": {"top_p": 0.5, "seed": 3}},
        {"strict": True},
    ],
    ids=str,
)
def test_dumps_of_what_answers_otherwise_differ(options: dict[str, Any]) -> None:
    # The ingestion cache keeps what extractors have an LLM write, and knows it by its dump.
    plain = FailoverLLM.from_urls("http://a/v1", model="m")
    other = FailoverLLM.from_urls("http://a/v1", model="m", **options)
    same = FailoverLLM.from_urls("http://b/v1", model="m", api_key=KEY, timeout=3, **options)

    assert plain.to_dict() != other.to_dict()
    assert other.to_dict() == same.to_dict()
    assert other.to_dict() == copy.deepcopy(other).to_dict()


def test_what_a_dump_says_of_settings_holds_no_secret() -> None:
    (child,) = FailoverLLM.from_urls("http://a/v1", model="m").router.targets
    child.client.additional_kwargs = {"extra_headers": {"x": KEY}, "top_p": object(), "seed": 3}

    assert KEY not in str(FailoverLLM(targets=[child]).to_dict())
    assert FailoverLLM(targets=[child]).to_dict()["shaped_by"][0] == {
        "model": "m",
        "temperature": 0.1,
        "seed": 3,
    }


@pytest.mark.parametrize("cls", CLASSES)
def test_a_key_is_in_no_repr_dump_or_pickle(cls: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    built = from_urls(cls, "http://127.0.0.1:9,http://127.0.0.1:10", api_key=KEY)

    said = [repr(built), str(built), str(built.to_dict()), built.to_json(), caplog.text]
    said += [str(built.model_dump()), str(built.router.status()), str(built.router.targets)]

    assert KEY not in "".join(said)
    assert json.loads(built.to_json())["class_name"] == cls.__name__
    with pytest.raises(ConfigurationError, match="pickle") as raised:
        pickle.dumps(built)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_key_from_the_environment_is_sent_and_pickled_by_name(
    cls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_KEY", KEY)
    with FaultServer(api_key=KEY) as server:
        built = from_urls(cls, server.url, api_key="${OUR_KEY}")
        pickled = pickle.dumps(built)
        twin = pickle.loads(pickled)  # noqa: S301 - our own

        assert KEY.encode() not in pickled
        assert use(twin) == use(built)
        for one in (twin, built):
            one.router.close()


def test_no_key_of_the_environment_goes_to_a_server_it_is_not_meant_for(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    llm = from_urls(FailoverLLM, servers[0].url)

    use(llm)
    llm.router.close()

    assert KEY not in str(servers[0].requests[0].headers)


async def test_redirects_are_not_followed(servers: Servers) -> None:
    servers[0].fault = Redirect(location=f"{servers[1].url}/chat/completions")
    llm = from_urls(FailoverLLM, servers[0].url, api_key=KEY)

    for ask in (lambda: llm.complete("Who?"), lambda: asyncio.run(llm.acomplete("Who?"))):
        with pytest.raises(AllTargetsFailedError):
            await asyncio.to_thread(ask)
    llm.router.close()

    assert not servers[1].requests


def test_keys_are_paired_with_urls() -> None:
    with FaultServer(api_key="one") as first, FaultServer(api_key="two") as second:
        second.start()
        llm = from_urls(FailoverLLM, [first.url, second.url], api_key=["one", "two"])
        first.fault = Status(500)

        assert llm.complete("Who?").additional_kwargs["failover"]["failed_over"]
        llm.router.close()


def test_copies_share_the_targets_and_have_a_router_of_their_own() -> None:
    llm = FailoverLLM(
        targets=[Target(MockLLM(max_tokens=2), name="one"), MockLLM()],
        policy=FailoverPolicy(attempt_timeout=5.0),
        system_prompt="Be kind.",
    )

    for twin in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):  # noqa: S301 - our own
        assert twin.complete("x").text == llm.complete("x").text
        assert twin.router is not llm.router
        assert twin.router.policy.attempt_timeout == 5.0
        assert twin.router.targets[0].name == "one"
        assert twin.system_prompt == "Be kind."


def test_a_pickle_leaves_the_original_as_it_is() -> None:
    child = MockLLM(completion_to_prompt=lambda prompt: f"<{prompt}>")
    llm = FailoverLLM(targets=[child])

    pickle.dumps(llm)

    assert child.completion_to_prompt is not None
    assert child.completion_to_prompt("a") == "<a>"
    assert llm.complete("a").text


@pytest.mark.parametrize("cls", CLASSES)
def test_from_env_reads_urls_keys_and_models(
    cls: Any, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = f"{servers[0].url}, {servers[1].url},"
    for name in ("OPENAI_BASE_URL", "INFINITY_BASE_URL"):
        monkeypatch.setenv(name, urls)
    for name in ("EMBEDDING_MODEL", "RERANKER_MODEL"):
        monkeypatch.setenv(name, "m")
    monkeypatch.setenv("RERANKER_DEFAULT_TOP_K", "3")
    monkeypatch.setenv("MAX_CONSECUTIVE_FAILURES", "2")
    monkeypatch.setenv("DAILY_REQUEST_LIMIT", "9")

    built = cls.from_env(model="m")

    assert [target.requests_per_day for target in built.router.targets] == [9, 9]
    assert built.router.policy.breaker.consecutive_failures == 2
    assert getattr(built, "top_n", 3) == 3
    assert use(built)
    built.router.close()


def test_from_env_names_the_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "INFINITY_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        FailoverLLM.from_env(model="m")
    with pytest.raises(ConfigurationError, match="INFINITY_BASE_URL"):
        FailoverEmbedding.from_env(model="m")


async def test_synchronous_calls_work_where_a_loop_runs_already(servers: Servers) -> None:
    llm = from_urls(FailoverLLM, [server.url for server in servers])
    servers[0].stop()

    assert llm.chat([ChatMessage("Who?")]).message.content
    assert "".join(chunk.delta for chunk in llm.stream_complete("Who?"))
    llm.router.close()


def test_it_works_in_loop_after_loop(servers: Servers) -> None:
    llm = from_urls(FailoverLLM, [server.url for server in servers])

    reports = [asyncio.run(llm.acomplete("Who?")).additional_kwargs for _ in range(3)]
    llm.router.close()

    assert [report["failover"]["attempts"] for report in reports] == [1, 1, 1]


def test_a_closed_router_opens_again(servers: Servers) -> None:
    llm = from_urls(FailoverLLM, servers[0].url)

    answers = []
    for _ in range(2):
        answers.append(use(llm))
        llm.router.close()

    assert answers[0] == answers[1]


def test_without_llamaindex_the_import_says_what_to_install() -> None:
    script = "import sys; sys.modules['llama_index.core'] = None; import llamaindex_failover"

    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert 'pip install "rag-failover[llamaindex]"' in done.stderr
