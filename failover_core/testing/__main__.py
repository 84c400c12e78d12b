"""A fault server as a process of its own: ``python -m failover_core.testing --port 7997``.

It prints its URL on a line when it accepts connections, and runs until it is interrupted or
killed. Its fault is set by ``POST /_fault``, and read from the command line at the start;
``GET /_fault`` tells it, and how many requests were ``received`` and ``served`` so far.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from failover_core.testing.faults import Fault
from failover_core.testing.server import FaultServer


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    server = FaultServer(
        port=options.port,
        models=options.model,
        dimension=options.dimension,
        api_key=options.api_key,
        latency=options.latency,
        chunk_latency=options.chunk_latency,
        max_concurrency=options.max_concurrency,
        offers_base64=not options.no_base64,
        certificate=options.certificate,
        provider=options.provider,
    )
    server.fault = options.fault and Fault.parse(options.fault)
    ending = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with server:
        print(server.url, flush=True)  # noqa: T201 - the process's one line of output
        signal.sigwait(ending)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m failover_core.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--model", action="append", help="a model served; any, if never given")
    parser.add_argument("--dimension", type=int, default=384, help="of the vectors")
    parser.add_argument("--api-key", help="the bearer token that requests must carry")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds of every request")
    parser.add_argument("--chunk-latency", type=float, default=0.0, help="seconds of each chunk")
    parser.add_argument("--max-concurrency", type=int, help="requests served at once")
    parser.add_argument("--no-base64", action="store_true", help="answer floats in any case")
    parser.add_argument("--certificate", help="a PEM file with its key: serve HTTPS")
    parser.add_argument("--provider", default="infinity", help="whose protocol: cohere, tei, …")
    parser.add_argument("--fault", help="such as hang, status:code=429 or slow:seconds=2")
    return parser


if __name__ == "__main__":
    main()
