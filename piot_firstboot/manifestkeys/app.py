"""Keys of the app as a whole: what it needs, how it is built and updated, what its fleet is."""

from __future__ import annotations

from typing import Any

from piot_firstboot import unitvalues, yamlvalues
from piot_firstboot.blocks import REFUSED, Key, Reader, Type
from piot_firstboot.declared import Python
from piot_firstboot.manifestkeys import types
from piot_firstboot.yamltext import Node, Scalar

_TOP, _NEEDS, _UPDATE = ("top",), ("needs",), ("update",)
_DAY = 86400.0
MAX_GROUPS = 100


def _python(reader: Reader, node: Node, key: str) -> Any:
    """Read a file's name, or a list of requirements."""
    if isinstance(node, Scalar):
        file = reader.scalar(node, unitvalues.requirements_file, key)
        return REFUSED if file is REFUSED else Python(file=file)
    items = reader.scalars(node, key)
    if items == ():
        reader.reading.problem(node.place, f"{key}: a value is missing")
    found = [reader.scalar(item, unitvalues.requirement, key) for item in items or ()]
    return Python(tuple(dict.fromkeys(line for line in found if line is not REFUSED)))


_PYTHON = Type(_python, "a file's name, or a list of requirements", types.NAMES)
_GLOBS = types.values(unitvalues.glob, "a pattern, or a list", some=True)

KEYS: tuple[Key, ...] = (
    Key(_TOP, "piot", types.value(yamlvalues.version, "1", enum=[1, "1"]), 1,
        "The version of this format", "1", required=True),
    Key(_TOP, "name", types.value(yamlvalues.app_name, "a name"), "",
        "What the app calls itself. On a device the name in piot.conf wins", "garden"),
    Key(_TOP, "needs", types.block("needs", "keys"), None,
        "What the device must have before the app is built", "{apt: [ffmpeg]}"),
    Key(_TOP, "build", types.COMMAND, None,
        "Run once a release, as the app's user in its sandbox, with the network", "./build.sh"),
    Key(_TOP, "env", types.ENV, (), "The environment of every unit", '{FPS: "24"}'),
    Key(_TOP, "env_file", types.value(unitvalues.inside, "a file of the release"), "",
        "A file of NAME=value lines, for every unit; env wins over it", "config.env"),
    Key(_TOP, "secrets", types.values(yamlvalues.secret_name, "a name, or a list"), (),
        "Secrets of the device that every unit gets, as files in CREDENTIALS_DIRECTORY",
        "[S3_KEY]"),
    Key(_TOP, "services", types.named("services", "keys below names"), (),
        "Programs that run for ever", "{web: {run: ./web}}"),
    Key(_TOP, "jobs", types.named("jobs", "keys below names"), (),
        "Programs that end", "{snap: {run: ./snap, every: 5min}}"),
    Key(_TOP, "update", types.block("update", "keys"), None,
        "How a new release comes", "{keep: 3}"),
    Key(_TOP, "health", types.block("app_health", "keys"), None,
        "What the journal of any unit must not hold after a deploy",
        "{journal: {priority: err, max: 20, per: 1h}}"),
    Key(_TOP, "fleet", types.block("fleet", "keys"), None,
        "What the devices of this app are among each other",
        "{roles: {sensor: {hosts: [pi-s*]}}}"),
    Key(_NEEDS, "apt", types.values(unitvalues.package, "a package, or a list"), (),
        "Debian packages, installed once before the build", "[rpicam-apps]"),
    Key(_NEEDS, "python", _PYTHON, None,
        "Python packages, for an environment of the release's own that also sees Debian's",
        "requirements.txt"),
    Key((*_NEEDS, "unit_needs"), "devices", types.values(unitvalues.device, "a kind or a path"),
        (),
        f"Devices that the sandbox opens: {' '.join(unitvalues.DEVICES)}, or a path below /dev. A "
        "job waits until the path is there", "[i2c, camera]"),
    Key(_UPDATE, "gate", types.placed(yamlvalues.unit_name, "a service, or a list"), None,
        "The services that a new release is judged by; if not given, all", "[web]"),
    Key(_UPDATE, "keep", types.count(2, 20), None,
        "How many releases stay, the running one included", "3"),
    Key(_UPDATE, "quiet", types.value(unitvalues.window, "a window of the day"), None,
        "Times, in the device's time zone, at which no new release is switched to",
        '"00:00-06:00"'),
    Key(_UPDATE, "reload", types.pairs(yamlvalues.unit_name, unitvalues.signal, "service: signal"),
        (), "Services that are sent a signal to read their files again, where others are restarted",
        "{web: SIGHUP}"),
    Key(("app_health",), "journal", types.block("app_journal", "keys"), None,
        "What the app's units may write to the journal",
        "{priority: err, max: 20, per: 1h}"),
    Key(("fleet",), "roles", types.named("role", "keys below names", MAX_GROUPS), (),
        "Parts that devices play; a role in piot.conf wins", "{sensor: {hosts: [pi-s*]}}"),
    Key(("fleet",), "rings", types.named("ring", "keys below names", MAX_GROUPS), (),
        "Groups that take a commit one after the other; the first that matches counts",
        "{canary: {hosts: [pi-lab]}, rest: {soak: 24h}}"),
    Key(("role", "ring"), "hosts", _GLOBS, (), "Host names, as patterns", "[pi-s*]"),
    Key(("role",), "models", _GLOBS, (), "Models, as patterns", '["*Zero 2*"]'),
    Key(("ring",), "soak", types.span(0, 90 * _DAY), 0.0,
        "How long a commit was out before these devices take it", "24h"),
)  # fmt: skip

KINDS: tuple[tuple[str, str], ...] = (
    ("top", "at the top"),
    ("needs", "in needs"),
    ("update", "in update"),
    ("app_health", "in the app's health"),
    ("fleet", "in fleet"),
    ("role", "in a role"),
    ("ring", "in a ring"),
)
