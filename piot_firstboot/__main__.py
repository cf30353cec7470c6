"""python -m piot_firstboot: the same verbs where PioT came from pip, as on Windows and macOS."""

from __future__ import annotations

import sys

from piot_firstboot.cli import main


def run() -> int:
    """Run one verb with the arguments of this process."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
