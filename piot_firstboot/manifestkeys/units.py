"""Keys of services and jobs."""

from __future__ import annotations

from piot_firstboot import schedule, unitvalues, yamlvalues
from piot_firstboot.blocks import Key
from piot_firstboot.manifestkeys import types

_SERVICE, _JOB = ("services",), ("jobs",)
_UNIT = (*_SERVICE, *_JOB)
_HOUR, _DAY = 3600.0, 86400.0
_SPAN = types.span(1, 30 * _DAY)
_GLOBS = types.values(unitvalues.glob, "a pattern, or a list", some=True)
_NAMES = types.placed(str, "a name, or a list")

KEYS: tuple[Key, ...] = (
    Key(_UNIT, "run", types.COMMAND, None,
        "The command. A line is split as a shell would; $NAME is replaced from the environment. "
        "The words of a list reach the program as they are", "python -m web", required=True),
    Key(_UNIT, "shell", types.FLAG, False, "Whether run is a script for /bin/sh", "true"),
    Key(_SERVICE, "notify", types.value(yamlvalues.ready, "ready", enum=["ready"]), False,
        "The program tells systemd itself when it is ready, with READY=1", "ready"),
    Key(_SERVICE, "watchdog", _SPAN, None,
        "Restarted when it does not say WATCHDOG=1 for so long", "30s"),
    Key(_SERVICE, "restart", types.choice("always", "on-failure", "no"), "always",
        "When it is started again after it ended", "on-failure"),
    Key(_SERVICE, "after", _NAMES, (), "Services that start before this one", "[broker]"),
    Key(_SERVICE, "port", types.value(unitvalues.port, "a port", type="integer", minimum=1,
        maximum=65535), None,
        "The port it listens on, told to the network by DNS-SD; below 1024 it may do so without "
        "being root", "8080"),
    Key(_SERVICE, "health", types.block("health", "keys"), None,
        "How to tell that it works; a deploy without that is taken back", "{tcp: 8080}"),
    Key(_JOB, "every", types.span(1, 366 * _DAY), None, "The time between two runs", "5min"),
    Key(_JOB, "at", types.at(schedule.calendar, "a time, or a list"), (),
        "When it runs: a time of day or week as systemd spells it, or the five fields of cron",
        '["02:30", Mon 09:00]'),
    Key(_JOB, "once", types.choice("commit", "device", "boot"), "",
        "Run once a commit before its services start, until it worked once on a device, or at "
        "each boot", "commit"),
    Key(_JOB, "after", _NAMES, (),
        "Services and jobs that it waits for while they are starting or running", "[snap]"),
    Key(_JOB, "jitter", types.span(0, _DAY), 0.0,
        "Up to so much later, always the same on one device", "20min"),
    Key(_JOB, "catch_up", types.FLAG, False,
        "Whether a run that was missed while the device was off is made up for", "true"),
    Key(_JOB, "timeout", _SPAN, _HOUR, "Ended after so long", "10min"),
    Key(_JOB, "retry", types.block("retry", "keys"), None,
        "Try again after a failure", "{times: 5, wait: 10min}"),
    Key(_JOB, "ping", types.value(unitvalues.ping, "an address, or a secret's name"), "",
        "An https address as healthchecks.io has them, or the secret that holds it: told of each "
        "start, and of the exit status", "HC_URL"),
    Key(_UNIT, "memory", types.value(unitvalues.memory, "an amount"), None,
        "The most memory it may use", "128M"),
    Key(_UNIT, "cpu", types.value(unitvalues.cpu, "a share"), None,
        "The most it may use of one core", "50%"),
    Key(_UNIT, "when", types.block("when", "keys"), None,
        "The devices that have this unit; if not given, all", "{role: gateway}"),
    Key(_UNIT, "env", types.ENV, (), "Its environment; wins over the app's", "{PORT: 8080}"),
    Key(_UNIT, "env_file", types.value(unitvalues.inside, "a file of the release"), "",
        "A file of NAME=value lines; wins over the app's, env wins over it", "web/config.env"),
    Key(_UNIT, "secrets", types.values(yamlvalues.secret_name, "a name, or a list"), (),
        "The secrets it gets, instead of the app's", "[S3_KEY]"),
    Key(_UNIT, "needs", types.block("unit_needs", "keys"), None,
        "The devices it may use, instead of the app's", "{devices: [camera]}"),
    Key(_UNIT, "dir", types.value(yamlvalues.directory, "a directory of the release"), "",
        "Its working directory", "web"),
    Key(_SERVICE, "watch", types.values(unitvalues.watched, "a pattern, or a list", some=True), (),
        "Files of the release that it is made of: restarted only when one of them changed; if not "
        "given, any", '["web/**", requirements.txt]'),
    Key(_UNIT, "root", types.FLAG, False,
        "Whether it runs as root, without the sandbox", "true"),
    Key(_UNIT, "systemd", types.SYSTEMD, (),
        "Further keys of [Service] as systemd has them", "{LimitNOFILE: 4096}"),
    Key(("health",), "http", types.value(yamlvalues.url, "an address"), "",
        "An address that answers 2xx or 3xx", "http://localhost:8080/healthz"),
    Key(("health",), "tcp", types.value(yamlvalues.endpoint, "a port, or host:port"), "",
        "A port that accepts connections", "8080"),
    Key(("health",), "command", types.COMMAND, None, "A command that ends with status 0",
        "./check"),
    Key(("health",), "journal", types.block("journal", "keys"), None,
        "What its journal must say, or must not", '{reject: "Traceback", max: 3, per: 10min}'),
    Key(("health",), "within", types.span(1, _HOUR), 30.0,
        "Ready after so long at most", "30s"),
    Key(("health",), "steady", types.span(0, _HOUR), 60.0,
        "Then without a restart or a failed check for so long", "60s"),
    Key(("journal",), "expect", types.value(unitvalues.pattern, "a regular expression"), "",
        "What an entry must match", '"listening on"'),
    Key(("journal",), "within", types.span(1, _HOUR), 30.0,
        "How long after the start that may take", "30s"),
    Key(("journal", "app_journal"), "reject",
        types.value(unitvalues.pattern, "a regular expression"), "",
        "What entries must not match", '"Traceback"'),
    Key(("journal", "app_journal"), "priority", types.choice(*unitvalues.PRIORITIES), "",
        "Which entries count: those as bad as this, or worse", "err"),
    Key(("journal", "app_journal"), "max", types.count(0, 1_000_000), 0,
        "How many of them are borne with", "3"),
    Key(("journal", "app_journal"), "per", types.span(1, 30 * _DAY), 600.0,
        "Within what time they are counted", "10min"),
    Key(("retry",), "times", types.count(1, 100), 1, "How often", "5", required=True),
    Key(("retry",), "wait", types.span(0, _DAY), 60.0, "Between two attempts", "10min"),
    Key(("when",), "role", types.placed(unitvalues.glob, "a pattern, or a list", some=True), (),
        "The role that piot.conf or fleet gives a device", "gateway"),
    Key(("when",), "host", _GLOBS, (), "Its host name", "pi-s*"),
    Key(("when",), "model", _GLOBS, (), "Its model", '"*Zero 2*"'),
    Key(("when",), "label", _GLOBS, (), "A label of piot.conf, by its name or as name=value",
        "room=kitchen"),
)  # fmt: skip

KINDS: tuple[tuple[str, str], ...] = (
    ("services", "in a service"),
    ("jobs", "in a job"),
    ("health", "in health"),
    ("journal", "in a service's journal"),
    ("app_journal", "in the app's journal"),
    ("retry", "in retry"),
    ("when", "in when"),
    ("unit_needs", "in a unit's needs"),
)
