"""piot hold, piot resume: keep an app as it is, and let it go on."""

from __future__ import annotations

import time

from piot_firstboot import report, state, wake
from piot_firstboot.errors import ApplyError
from piot_firstboot.state import Hold
from piot_firstboot.system import System


def hold(system: System, app: str, reason: str) -> str:
    """Let an app stay as it is; a deploy at work is brought to its end. Return what to print."""
    reason = " ".join(reason.split())
    if any(not c.isprintable() for c in reason) or len(reason) > 200:
        raise ApplyError("the reason is a line of at most 200 characters")
    state.hold(system, app, Hold(reason, time.time()))
    report.refresh(system, report.log(system))
    commit = state.load(system, app).commit
    stays = f"{commit[:12]} stays" if commit else "nothing is deployed"
    return f"{app}: on hold; {stays} until: sudo piot resume {app}"


def resume(system: System, app: str) -> str:
    """End the hold, and look for newer commits at once. Return what to print."""
    if state.held(system, app) is None:
        return f"{app}: is not on hold"
    state.hold(system, app, None)
    report.refresh(system, report.log(system))
    wake.start(system, (app,))
    return f"{app}: goes on"
