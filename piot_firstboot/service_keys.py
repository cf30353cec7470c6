"""Raw [Service] keys of a manifest (`systemd:`): which PioT keeps for itself, and why."""

from __future__ import annotations

import re

_KEY = re.compile(r"[A-Z][A-Za-z0-9]*")

# Key → what to write instead, or why it is not the app's to set.
_OURS: dict[str, str] = {
    "Type": "use notify: ready",
    "NotifyAccess": "use notify: ready",
    "RemainAfterExit": "use once: boot in a job",
    "Restart": "use restart:",
    "RestartSec": "PioT sets it, so that a late network never stops a service for good",
    "RestartSteps": "PioT sets it, so that a late network never stops a service for good",
    "RestartMaxDelaySec": "PioT sets it, so that a late network never stops a service for good",
    "WatchdogSec": "use watchdog:",
    "TimeoutStartSec": "use timeout: in a job, health: within: in a service",
    "TimeoutSec": "use timeout: in a job, health: within: in a service",
    "User": "an app runs as its own user; root: true is the way out",
    "Group": "an app runs as its own user; root: true is the way out",
    "DynamicUser": "an app runs as its own user; root: true is the way out",
    "WorkingDirectory": "use dir:",
    "RootDirectory": "the release would not be in it",
    "RootImage": "the release would not be in it",
    "Environment": "use env:",
    "EnvironmentFile": "use env:",
    "PassEnvironment": "use env:",
    "UnsetEnvironment": "use env:",
    "LoadCredential": "use secrets:",
    "LoadCredentialEncrypted": "use secrets:",
    "SetCredential": "use secrets:",
    "SetCredentialEncrypted": "use secrets:",
    "ImportCredential": "use secrets:",
    "MemoryMax": "use memory:",
    "MemoryHigh": "use memory:",
    "MemoryLimit": "use memory:",
    "CPUQuota": "use cpu:",
    "DeviceAllow": "use needs: devices:",
    "ReloadSignal": "use reload: in update",
    "Slice": "each app has its own slice",
    "SyslogIdentifier": "piot logs finds the app's lines by it",
    "LogExtraFields": "piot logs finds the app's lines by it",
    "StateDirectory": "each app has its own, see STATE_DIRECTORY",
    "CacheDirectory": "each app has its own, see CACHE_DIRECTORY",
    "RuntimeDirectory": "each app has its own, see RUNTIME_DIRECTORY",
    "RuntimeDirectoryPreserve": "the units of an app share it",
    "RemoveIPC": "the units of an app share a user",
    "PermissionsStartOnly": "an app runs as its own user; root: true is the way out",
    "BusName": "an app's unit is not of type dbus",
    "PIDFile": "an app's unit stays in the foreground",
    "GuessMainPID": "an app's unit stays in the foreground",
}
# Where a key of another section belongs: systemd.unit(5), systemd.timer(5).
_ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(
        [
            "After",
            "Before",
            "Wants",
            "Requires",
            "Requisite",
            "BindsTo",
            "PartOf",
            "Upholds",
            "Conflicts",
            "OnFailure",
            "OnSuccess",
            "Description",
            "Documentation",
            "DefaultDependencies",
            "StartLimitIntervalSec",
            "StartLimitBurst",
            "ConditionPathExists",
            "AssertPathExists",
            "RequiresMountsFor",
            "SourcePath",
            "CollectMode",
            "JobTimeoutSec",
        ],
        "it belongs to [Unit]",
    ),
    **dict.fromkeys(["WantedBy", "RequiredBy", "Alias", "Also"], "it belongs to [Install]"),
    **dict.fromkeys(
        [
            "OnCalendar",
            "OnBootSec",
            "OnActiveSec",
            "OnStartupSec",
            "OnUnitActiveSec",
            "OnUnitInactiveSec",
            "Persistent",
            "RandomizedDelaySec",
            "FixedRandomDelay",
            "AccuracySec",
            "WakeSystem",
        ],
        "it belongs to [Timer]; use every:, at:, jitter: or catch_up:",
    ),
}
# The first systemd that knows a key, for those newer than Bookworm's 252: systemd.exec(5),
# systemd.service(5), systemd.resource-control(5).
_SINCE: dict[str, int] = {
    "OpenFile": 253,
    "MemoryZSwapMax": 253,
    "RestartMode": 254,
    "RootEphemeral": 254,
    "FileDescriptorStorePreserve": 254,
    "MemoryPressureWatch": 254,
    "MemoryPressureThresholdSec": 254,
    "CoredumpReceive": 255,
    "SurviveFinalKillSignal": 255,
    "BindLogSockets": 257,
    "PrivatePIDs": 257,
    "ManagedOOMMemoryPressureDurationSec": 257,
    "StateDirectoryQuota": 258,
}


def judge(key: str) -> None:
    """Refuse a key that is none, or not the app's to set. Raises ValueError(message, hint)."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a key of systemd", "write it like LimitNOFILE")
    if key in _OURS:
        raise ValueError(f"{key}= is managed by PioT", _OURS[key])
    if key.startswith("Exec"):
        raise ValueError(f"{key}= is managed by PioT", "use run:, and a script for several steps")
    if key in _ELSEWHERE:
        raise ValueError(f"{key}= is not a [Service] key", _ELSEWHERE[key])


def judge_value(key: str, text: str) -> None:
    """Refuse a value that would not stay on its own line. Raises ValueError(message, hint)."""
    if any(ord(c) < 0x20 and c != "\t" or ord(c) == 0x7F for c in text):
        raise ValueError(f"{key}= takes one line of text")
    if text.rstrip().endswith("\\"):
        raise ValueError(f"{key}= cannot end in a backslash", "systemd would join the next line")


def since(key: str) -> int:
    """Return the first version of systemd that knows a key; 0 for those of Bookworm and older."""
    return _SINCE.get(key, 0)
