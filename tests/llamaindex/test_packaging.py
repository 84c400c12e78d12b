"""What LlamaHub, dumps and readers know the classes by; none of it may change unnoticed."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor

import failover_core
import llamaindex_failover
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank, FailoverRetriever

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
BASES = {
    FailoverEmbedding: BaseEmbedding,
    FailoverLLM: FunctionCallingLLM,
    FailoverRerank: BaseNodePostprocessor,
    FailoverRetriever: BaseRetriever,
}


@pytest.mark.parametrize(("cls", "base"), BASES.items())
def test_a_class_has_its_base_and_a_stable_name(cls: Any, base: type) -> None:
    assert issubclass(cls, base)
    assert "class_name" in vars(cls)
    assert cls.class_name() == cls.__name__


@pytest.mark.parametrize("cls", BASES)
def test_the_docstring_shows_how_to_install_and_use_the_class(cls: type) -> None:
    shown = inspect.getdoc(cls) or ""

    (example,) = shown.split("Example:")[1:]
    assert f">>> {cls.__name__}" in example or f"= {cls.__name__}" in example
    (line,) = [line for line in shown.splitlines() if "pip install" in line]
    extra = line.partition("rag-failover[")[2].partition("]")[0]
    assert extra in PROJECT["project"]["optional-dependencies"]
    assert "Raises:" in shown


OF_THE_CORE = {"AllTargetsFailedError", "FailoverPolicy", "Target"}


def test_what_users_need_of_the_core_is_at_hand() -> None:
    for name in OF_THE_CORE:
        assert getattr(llamaindex_failover, name) is getattr(failover_core, name)


def test_llamahub_finds_every_class_where_it_is_imported_from() -> None:
    hub = PROJECT["tool"]["llamahub"]

    assert hub["import_path"] == llamaindex_failover.__name__
    assert set(hub["class_authors"]) == set(llamaindex_failover.__all__) - OF_THE_CORE
    assert all(hub["class_authors"].values())
    assert isinstance(hub["contains_example"], bool)


def test_the_packages_carry_their_types() -> None:
    assert (Path(llamaindex_failover.__file__).parent / "py.typed").exists()
