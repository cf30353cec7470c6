"""The host keys of the SSH server, where a power cut emptied them.

ssh-keygen(1) makes them at the first boot of an image and does not flush them. When the power fails
soon after, the names are on disk and the keys are not: sshd finds none that it can use and never
starts again, on a device that often has no other way in.
"""

from __future__ import annotations

from piot_firstboot import idle
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

_PROGRAM = "/usr/bin/ssh-keygen"


def mend(system: System, *, boot: bool) -> str:
    """Make the host keys anew that hold nothing; return what was done, or "".

    At a boot the server comes after this. Never on a tree: devices made from one image would all
    have the same keys.
    """
    empty = idle.hollow(system.root.rstrip("/"))
    if not (empty and system.live and system.runnable(_PROGRAM)):
        return ""
    names = ", ".join(path.rpartition("/")[2] for path in empty)
    try:
        for path in empty:
            # Of a file of NUL bytes ssh-keygen would think that it is a key.
            system.remove(path)
            system.remove(f"{path}.pub")
        system.run(("ssh-keygen", "-A"), check=True)
        system.sync(idle.SSH)
    except (ApplyError, OSError) as error:
        return f"host keys of the SSH server hold nothing, and stay so: {names}: {error}"
    if not boot and system.systemctl("is-failed", "--quiet", "ssh.service").code == 0:
        system.run(("systemctl", "reset-failed", "ssh.service"))
        system.run(("systemctl", "start", "--no-block", "ssh.service"))
    return f"host keys of the SSH server held nothing, and are new: {names}"
