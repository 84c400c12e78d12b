"""What the package exports, and what it says when something is missing or in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import langchain_failover

EXPORTED = [
    "AllTargetsFailedError",
    "FailoverChatModel",
    "FailoverEmbeddings",
    "FailoverPolicy",
    "FailoverReranker",
    "FailoverRetriever",
    "PairedStores",
    "Target",
]
ROOT = Path(langchain_failover.__file__).parents[1]


def run(code: str) -> str:
    """Run code in a process of its own; return the last line of what it printed."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_the_exported_names_stay() -> None:
    assert langchain_failover.__all__ == EXPORTED
    assert all(hasattr(langchain_failover, name) for name in EXPORTED)


def test_the_other_framework_and_the_extras_are_not_imported() -> None:
    code = """
import sys, langchain_failover
loaded = {"llama_index", "langchain_openai", "openai", "langchain"} & set(sys.modules)
print(sorted(loaded))
"""
    assert run(code) == "[]"


MISSING = {
    "langchain_core": ("import langchain_failover", 'pip install "rag-failover[langchain]"'),
    "langchain_openai": (
        "from langchain_failover import *; FailoverChatModel.from_urls('http://a:1', model='m')",
        'pip install "rag-failover[langchain,openai]"',
    ),
}


@pytest.mark.parametrize("package", MISSING)
def test_a_missing_package_is_named_with_the_line_that_installs_it(package: str) -> None:
    code, remedy = MISSING[package]
    hide = f"import sys; sys.modules[{package!r}] = None\n"

    answer = run(hide + code)

    assert answer.startswith("ImportError: ")
    assert answer.endswith(remedy)


def test_the_namesake_on_pypi_is_told_apart(tmp_path: Path) -> None:
    metadata = tmp_path / "langchain_failover-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: langchain-failover\nVersion: 0.1.0\n")

    answer = run(f"import sys; sys.path.append({str(tmp_path)!r}); import langchain_failover")

    assert "pip uninstall langchain-failover" in answer
