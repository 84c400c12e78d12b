"""Says what is missing or in the way, before an import further down fails without a remedy."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

_NAMESAKE = "langchain-failover"


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


if find_spec("langchain_core") is None:
    _message = (
        "langchain_failover needs langchain-core, which is not installed: "
        'pip install "rag-failover[langchain]"'
    )
    raise ImportError(_message)

if _is_installed(_NAMESAKE):
    _message = (
        f"the distribution {_NAMESAKE!r} writes its files into the same langchain_failover/ "
        "as rag-failover, so that neither is whole: "
        f"pip uninstall {_NAMESAKE} && pip install --force-reinstall --no-deps rag-failover"
    )
    raise ImportError(_message)
