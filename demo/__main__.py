"""The demo's command line: ``python -m demo``. Exit status 1 if anything was lost or wrong."""

from __future__ import annotations

import argparse
import logging
import sys

from demo.play import play


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
    # The account tells the same, with more around it.
    logging.getLogger("failover_core").setLevel(logging.ERROR)
    return 0 if play(parser.parse_args().questions).passed else 1


if __name__ == "__main__":
    sys.exit(main())
