"""What the package exports, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import failover_core

EXPORTED = """
    AllTargetsFailedError AttemptTimeoutError BreakerPolicy BrokenStreamError CallOptions
    Capability Clock ConfigurationError Dice EmbeddingSpaceMismatchError ErrorClass EventKind
    FailoverError FailoverEvent FailoverPolicy Health HedgePolicy Latency MalformedResponseError
    OutOfStepError PartialEmbeddingError PoolStatus Price ProbePolicy ResponseStatusError Resume
    RetryPolicy Router SpaceMismatchError State Sticky Strategy Target TargetError TargetStatus
    UnavailableError UnsupportedError register_strategy
""".split()  # noqa: SIM905 - a list of words is read as words

HEAVY = ("langchain", "langchain_core", "llama_index", "openai", "aiohttp", "httpx", "numpy")


def test_the_exported_names_are_these() -> None:
    assert sorted(EXPORTED) == failover_core.__all__
    assert all(getattr(failover_core, name).__doc__ for name in EXPORTED)


def test_importing_the_core_loads_no_framework_and_no_http() -> None:
    program = (
        "import sys, failover_core\n"
        "from failover_core import Router\n"
        "assert Router([1]).run(str) == '1'\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(  # noqa: S603 - the program is the one above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stdout
