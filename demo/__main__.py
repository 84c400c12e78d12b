"""The demo's command line: ``python -m demo``. Exit status 1 if anything was lost or wrong."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

from demo.play import play

_INTERRUPTED = 130
"""What shells return after Ctrl-C."""


def main() -> int:
    """Play the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--questions",
        type=int,
        choices=(1, 2, 3),
        default=3,
        help="for each application in each of the eight scenes (default: %(default)s)",
    )
    options = parser.parse_args()
    _prepare()
    try:
        return 0 if play(options.questions).passed else 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _prepare() -> None:
    # The account tells what the log would, with more around it.
    logging.getLogger("failover_core").setLevel(logging.ERROR)
    # The SDKs inside the chat models would send even this machine's requests to a proxy.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    # As Ctrl-C does, so that no server outlives the demo.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
