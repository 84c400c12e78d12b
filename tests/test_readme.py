"""What the README and the pages of docs show works as it stands there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings

from failover_core import config
from failover_core.testing import FaultServer, ScriptedClient
from failover_core.testing.fixtures import fault_servers

__all__ = ["fault_servers"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.fixture(autouse=True)
def _loop() -> Iterator[None]:
    """A loop for the sync calls of LlamaIndex, which would make one and leave it open."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield
        asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex's settings, which a block may change for itself alone."""
    for name in ("_llm", "_embed_model"):
        monkeypatch.setattr(Settings, name, None)


# LlamaIndex uses methods of pydantic that pydantic deprecates.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_of_code_runs(
    block: str,
    fault_servers: Callable[..., list[FaultServer]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, server in enumerate(fault_servers(2), start=1):
        block = re.sub(rf"http://gpu-{number}:\d+", server.url, block)
    scope: dict[str, Any] = {
        "primary_client": _SearchClient("primary"),
        "backup_client": _SearchClient("backup"),
    }
    exec(block, scope)  # noqa: S102 - our own README
    if "print(" in block and "servers =" in block:
        assert "Alexandria stood on the island of Pharos" in capsys.readouterr().out


def test_the_variables_it_names_are_those_that_are_read() -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", README))
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', Path(config.__file__).read_text()))
    assert named == read


def test_the_files_and_targets_it_names_exist() -> None:
    files = re.findall(r"`([\w/]+\.(?:md|ipynb))`", README)
    targets = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert files
    assert targets
    assert all((ROOT / name).exists() for name in files)
    assert all(f"\n{target}:" in makefile for target in targets)


class _SearchClient(ScriptedClient):
    def search(self, query: str) -> Any:
        return self.call(query)

    def __init__(self, name: str) -> None:
        super().__init__(name, default="found")
