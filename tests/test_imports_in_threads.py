"""Several threads may import the packages at once, whichever of them each needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

AT_ONCE = """
import sys, threading

names, complaints = sys.argv[1:], []
together = threading.Barrier(len(names))
sys.setswitchinterval(1e-6)  # so that they meet in the middle of it

def bring(name):
    together.wait()
    try:
        __import__(name)
    except BaseException as error:
        complaints.append(f"{name}: {error!r}")

threads = [threading.Thread(target=bring, args=[name]) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(complaints) or 0)
"""


@pytest.mark.parametrize(
    "names",
    [
        ["failover_core.clients", "failover_core"],
        ["failover_core.clients", "failover_core.embedding", "failover_core.reranking"],
        ["failover_core.testing", "failover_core.config", "failover_core"],
        ["langchain_failover", "llamaindex_failover", "failover_core.clients", "failover_core"],
    ],
    ids=" ".join,
)
def test_threads_import_at_once(names: list[str]) -> None:
    script = [sys.executable, "-c", AT_ONCE, *names]
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        script, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
