"""What an app's unit may do: little, by default.

Chosen so that `systemd-analyze security` stays at or below 2.5 while Python, Node's compiler,
/proc/cpuinfo and networking work. All directives exist in systemd 252: systemd.exec(5).
"""

from __future__ import annotations

# Left out on purpose: MemoryDenyWriteExecute= (Node and PyPy compile at run time), ProcSubset=pid
# (hides /proc/cpuinfo), PrivateNetwork=, and RemoveIPC= (a job that ends would take away the
# shared memory of the app's services, which run as the same user).
SANDBOX: tuple[tuple[str, str], ...] = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("DevicePolicy", "closed"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectProc", "invisible"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged"),
    # A refused call fails like one without permission; it does not kill the program.
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0027"),
)
_BIND = "CAP_NET_BIND_SERVICE"


def sandbox(*, devices: bool = False, binds: bool = False) -> tuple[tuple[str, str], ...]:
    """Return the sandbox with holes in it.

    With `devices` /dev is the machine's own, of which DevicePolicy= still closes all that
    DeviceAllow= does not name. With `binds` ports below 1024 may be listened on.
    """
    opened = {
        **({"PrivateDevices": "no"} if devices else {}),
        **({"CapabilityBoundingSet": _BIND, "AmbientCapabilities": _BIND} if binds else {}),
    }
    return tuple((key, opened.get(key, value)) for key, value in SANDBOX)
