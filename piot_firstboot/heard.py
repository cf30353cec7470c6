"""piot peers: ask the network again which other devices run services of an app."""

from __future__ import annotations

from piot_firstboot import neighbours, release, state
from piot_firstboot.system import System


def listen(system: System, app: str) -> str:
    """Note what is advertised now, and return the variables that units get, one a line.

    Raises ApplyError where there is no such app, or nothing of it runs.
    """
    state.source(system, app)
    commit = state.load(system, app).commit
    if not commit:
        return ""
    neighbours.note(system, app, release.manifest(system, app, commit))
    return neighbours.known(system, app)
