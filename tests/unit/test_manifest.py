"""The reader of .piot.yaml: what it makes of a file, and that nothing but it comes out."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot import yamltext
from piot_firstboot.command import CommandError, Variable, script, split, text_of, verbatim
from piot_firstboot.declared import (
    Fleet,
    Health,
    Job,
    JournalRule,
    Manifest,
    Needs,
    Python,
    Retry,
    Ring,
    Role,
    Service,
    Update,
    When,
)
from piot_firstboot.errors import ConfigError
from piot_firstboot.manifest import Command, parse
from piot_firstboot.schema import KEYS, KINDS


def service(text: str) -> Service:
    """Parse the only service of a manifest."""
    (found,) = parse(f"piot: 1\nservices:\n  web: {{run: ./web, {text}}}\n".encode()).services
    return found


def job(text: str) -> Job:
    """Parse the only job of a manifest."""
    (found,) = parse(f"piot: 1\njobs:\n  j: {{run: ./j, {text}}}\n".encode()).jobs
    return found


def problems(text: str | bytes) -> list[str]:
    """Return `line:column message` of every problem."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse(data)
    return [f"{p.line}:{p.column} {p.message}" for p in caught.value.problems]


def test_whole() -> None:
    """Every field of every dataclass, once."""
    text = b"""\
piot: 1
name: garden
env: {FPS: "24"}
secrets: [KEY]
services:
  web:
    run: python -m web --port $PORT
    notify: ready
    watchdog: 30s
    restart: on-failure
    after: [db]
    health: {http: http://localhost/, within: 10s, steady: 1min}
    env: {FPS: "25"}
    secrets: [OTHER]
    dir: web/
    root: yes
    systemd: {LimitNOFILE: 4096, SupplementaryGroups: [gpio, i2c]}
  db: {run: [./db, "$x"]}
jobs:
  up:
    run: a | b
    shell: true
    at: "02:30"
    jitter: 20m
    catch_up: true
    timeout: 10min
    retry: {times: 5, wait: 10m}
    secrets: []
"""
    web = Service(
        name="web",
        run=Command((("python",), ("-m",), ("web",), ("--port",), (Variable("PORT"),))),
        notify=True,
        watchdog=30.0,
        restart="on-failure",
        after=("db",),
        health=Health("http://localhost/", "", None, 10.0, 60.0),
        env=(("FPS", "25"),),
        secrets=("OTHER",),
        dir="web",
        root=True,
        systemd=(
            ("LimitNOFILE", "4096"),
            ("SupplementaryGroups", "gpio"),
            ("SupplementaryGroups", "i2c"),
        ),
        line=6,
    )
    db = Service(
        "db", Command((("./db",), ("$x",))), False, None, "always", (),
        Health(within=30.0, steady=10.0), (), ("KEY",), "", False, (), 18,
    )  # fmt: skip
    up = Job(
        name="up",
        run=Command((("a | b",),), shell=True),
        every=None,
        at=("*-*-* 02:30:00",),
        once="",
        jitter=1200.0,
        catch_up=True,
        timeout=600.0,
        retry=Retry(5, 600.0),
        env=(),
        secrets=(),
        dir="",
        root=False,
        systemd=(),
        line=20,
    )
    assert parse(text) == Manifest("garden", (("FPS", "24"),), ("KEY", "OTHER"), (web, db), (up,))


def test_what_devices_need_and_are() -> None:
    """Every field that is not of a service or job alone, and every field of both."""
    text = b"""\
piot: 1
needs:
  apt: [rpicam-apps, "python3-numpy:arm64"]
  python: [requests>=2.28, "numpy<2"]
  devices: [i2c, camera]
build: ./build.sh --fast
env_file: ./config.env
services:
  web:
    run: ./web
    port: 80
    health: {journal: {expect: ready, within: 10s, reject: "Trace|Err", max: 3, per: 10m}}
    memory: 128M
    cpu: 50%
    when: {role: gateway, host: [pi-*, "?"], model: "*Zero 2*", label: room=kitchen}
    watch: ["web/**", ./requirements.txt]
    needs: {devices: /dev/ttyUSB0}
    env_file: web.env
  db: {run: ./db}
jobs:
  up: {run: ./up, every: 5m, after: [web, other], ping: HC, secrets: [A]}
  other: {run: ./o, once: commit, memory: 1.5G, cpu: 150%}
update: {gate: [web], keep: 3, quiet: "00:00-06:00", reload: {web: SIGHUP, db: usr1}}
health: {journal: {priority: err, max: 20, per: 1h}}
fleet:
  roles: {gateway: {hosts: [pi-gw]}, sensor: {hosts: ["pi-s*"], models: ["*Zero 2*"]}}
  rings: {canary: {hosts: [pi-lab]}, rest: {soak: 24h}}
"""
    app = parse(text)
    packages = Python(("requests>=2.28", "numpy<2"))
    assert app.needs == Needs(("rpicam-apps", "python3-numpy:arm64"), packages, ("i2c", "camera"))
    assert app.build == Command((("./build.sh",), ("--fast",)))
    assert app.env_file == "config.env"
    assert app.update == Update(("web",), 3, (0, 360), (("web", "SIGHUP"), ("db", "SIGUSR1")))
    assert app.health == JournalRule(priority="err", max=20, per=3600.0)
    roles = Role("gateway", ("pi-gw",)), Role("sensor", ("pi-s*",), ("*Zero 2*",))
    rings = Ring("canary", ("pi-lab",)), Ring("rest", ("*",), 86400.0)
    assert app.fleet == Fleet(roles, rings)
    assert app.secrets == ("A", "HC")
    web, db = app.services
    rule = JournalRule("ready", "Trace|Err", 3, 600.0, 10.0)
    assert web.health == Health(within=30.0, steady=60.0, journal=rule)
    assert (web.port, web.memory, web.cpu) == (80, 128 << 20, 50.0)
    assert web.when == When(("gateway",), ("pi-*", "?"), ("*Zero 2*",), ("room=kitchen",))
    assert web.watch == ("web/**", "requirements.txt")
    assert (web.devices, db.devices) == (("/dev/ttyUSB0",), ("i2c", "camera"))
    assert (web.env_file, db.env_file) == ("web.env", "")
    up, other = app.jobs
    assert (up.after, up.ping, up.secrets) == (("web", "other"), "HC", ("A", "HC"))
    assert (other.memory, other.cpu) == (3 << 29, 150.0)
    nothing = parse(b"piot: 1\nservices: {web: {run: ./web}}\n")
    assert nothing.needs == Needs() and nothing.update == Update() and nothing.fleet == Fleet()
    assert parse(b"piot: 1\njobs:\nneeds: {python: a/pyproject.toml}\n").needs.python == Python(
        file="a/pyproject.toml"
    )


def test_defaults() -> None:
    """What is not said is what the contract says."""
    assert job("every: 5m").timeout == 3600
    assert job("every: 5m").retry is None
    assert job("at: daily, retry: {times: 1}").retry == Retry(1, 60)
    assert service("restart: always").health == Health("", "", None, 30, 10)
    assert service("health: {tcp: 80}").health == Health("", "localhost:80", None, 30, 60)
    assert service("health: {steady: 5s}").health == Health("", "", None, 30, 5)
    assert service("health: {tcp: 'db:80'}").health.tcp == "db:80"
    check = service('health: {command: "./ok $A"}').health.command
    assert check == Command((("./ok",), (Variable("A"),)))


def test_frozen() -> None:
    """A manifest cannot change once it is judged, and equal text gives equal values."""
    data = b"piot: 1\nservices: {web: {run: ./web}}\n"
    assert parse(data) == parse(data)
    assert hash(parse(data)) == hash(parse(data))


def test_problems_carry_their_line() -> None:
    """A problem shows the line as written, and a caret below the place."""
    with pytest.raises(ConfigError) as caught:
        parse(b"piot: 1\nservices:\n  web: {run: ./a | b}\n", "app/.piot.yaml")
    assert str(caught.value) == (
        "app/.piot.yaml:3:18: run: | is a shell operator\n"
        "      web: {run: ./a | b}\n"
        "                     ^\n"
        "    hint: a pipe, list or redirection needs a shell: add shell: true,"
        " or put it into a script"
    )


def test_long_lines_are_not_shown_whole() -> None:
    """A line of kilobytes is cut around the place, or left out."""
    with pytest.raises(ConfigError) as caught:
        parse(b"piot: 1\nservices: {web: {run: " + b"x" * 5000 + b", foo: 1}}\n")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ("a ''", ["a", ""]),
        ("a b'c'\"d\"e", ["a", "bcde"]),
        (r"a \$b \  \\ \|", ["a", "$b", " ", "\\", "|"]),
        (r'a "\$b \" \\ \` \x"', ["a", '$b " \\ ` \\x']),
        (r"a '\n $b'", ["a", r"\n $b"]),
        ("a $$b $ c$ %d", ["a", "$b", "$", "c$", "%d"]),
        ("a b#c '#d'", ["a", "b#c", "#d"]),
        ("a\tb \n", ["a", "b"]),
        ("a \\\nb", ["a", "b"]),
        ("a --x=*.txt x~/y {1,2} !z", ["a", "--x=*.txt", "x~/y", "{1,2}", "!z"]),
        ("a x=1", ["a", "x=1"]),
        ("a $B ${C}d", ["a", "${B}", "${C}d"]),
    ],
)
def test_split(line: str, words: list[str]) -> None:
    """A command line is split as a POSIX shell splits it."""
    assert [text_of(word) for word in split(line).words] == words


def test_variables_are_kept_apart() -> None:
    """A variable is told from the same characters meant literally."""
    command = split("a $B'$B'\"$B\"")
    assert command.words == (("a",), (Variable("B"), "$B", Variable("B")))


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(PRINTABLE, min_size=1, max_size=5))
def test_split_undoes_quoting(words: list[str]) -> None:
    """Words in a shell's single quotes come back as they were."""
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    if not words[0]:
        with pytest.raises(CommandError):
            split(quoted)
    else:
        assert [text_of(word) for word in split(quoted).words] == words


@given(st.text("ab |&;<>()`$\"'\\#={}\n1", max_size=14))
def test_any_command_line(line: str) -> None:
    """A line is split or refused, and what is refused is pointed at."""
    for read in (split, script):
        try:
            read(line)
        except CommandError as error:
            assert 0 <= error.index <= len(line)
    try:
        verbatim((line, line))
    except CommandError:
        assert not line.strip()


def test_too_long_for_a_program() -> None:
    """Linux passes no string of more than 128 KiB."""
    with pytest.raises(CommandError, match="128 KiB"):
        verbatim(("x", "y" * 131072))
    assert verbatim(("x", "y" * 131071))
    assert "128 KiB" in problems(f"piot: 1\nenv: {{A: {'x' * 131072}}}\njobs:")[0]


def test_size_is_bounded() -> None:
    """A file of more than 256 KiB is not read at all."""
    data = b"piot: 1\nservices: {web: {run: ./web}}\n#"
    assert parse(data.ljust(yamltext.MAX_BYTES, b"x"))
    assert problems(data.ljust(yamltext.MAX_BYTES + 1, b"x")) == [
        "0:0 the file has 256 KiB; 256 KiB are allowed"
    ]


def test_many_problems_of_one_alias() -> None:
    """A problem within an anchor is told once, however often it is used."""
    text = "piot: 1\nservices:\n  a: &a {run: ./x, foo: 1}\n  b: *a\n  c: *a\n"
    assert problems(text) == ['3:20 unknown key "foo" in a service']


def test_number_of_problems_is_bounded() -> None:
    """After a hundred problems no one reads on."""
    assert len(problems("piot: 1\n" + "".join(f"x{n}: 1\n" for n in range(200)))) == 100


def test_number_of_units_is_bounded() -> None:
    """A thousand units are enough for a Pi."""
    rows = "".join(f"  s{n}: {{run: ./x}}\n" for n in range(1001))
    assert problems(f"piot: 1\nservices:\n{rows}") == ["1003:3 more than 1000 services"]


def test_long_chains_of_after() -> None:
    """Order is followed without recursion."""
    rows = "".join(f"  s{n}: {{run: ./x, after: s{n + 1}}}\n" for n in range(999))
    text = f"piot: 1\nservices:\n{rows}  s999: {{run: ./x}}\n"
    assert len(parse(text.encode()).services) == 1000
    assert len(problems(text.replace("s999: {", "s999: {after: s0, "))) == 1


HOSTILE = [
    b"[" * 100_000,
    b"{" * 100_000,
    b"- " * 100_000,
    b"? " * 50_000,
    b"a: " * 50_000,
    b"&a " * 50_000,
    b"!!x " * 50_000,
    b"'" * 100_001,
    b'"' + b"\\x41" * 60_000,
    b"a:\n" * 80_000,
    b"- x\n" * 60_000,
    b"".join(b"k%d: v\n" % n for n in range(20_000)),
    b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 5000)),
    b"a: &a [x]\n" + b"b: [" + b"*a, " * 60_000 + b"]",
    b"\n" * 250_000,
    b"# " * 100_000,
    b"|\n" + b" x\n" * 60_000,
    b"%YAML 1.1\n" * 20_000,
    b"---\n" * 60_000,
    b"\xef\xbb\xbf" * 80_000,
    b"piot: 1\nservices: {web: {run: " + b"\\\\ " * 80_000 + b"}}",
    b"piot: 1\nservices: {web: {run: './a " + b"$a" * 100_000 + b"'}}",
    b"piot: 1\njobs: {web: {run: a, at: [" + b"'1:1'," * 20_000 + b"]}}",
    b"piot: 1\njobs: {web: {run: a, at: '" + b"1," * 100_000 + b"'}}",
    b"piot: 1\nservices: {web: {run: a, dir: '" + b"../" * 80_000 + b"'}}",
    b"piot: 1\nnope" + b"e" * 200_000 + b": 1",
    b"piot: 1\nservices: {web: {run: a, after: [" + b"webb, " * 30_000 + b"]}}",
    b"piot: 1\n" + b"".join(b"unknown%d: 1\n" % n for n in range(15_000)),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_files_are_judged_quickly(number: int) -> None:
    """The worst that fits into 256 KiB is refused or read within seconds."""
    began = time.process_time()
    try:
        parse(HOSTILE[number])
    except ConfigError as error:
        assert error.problems
    assert time.process_time() - began < 5


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Bytes give a Manifest or a ConfigError."""
    try:
        assert isinstance(parse(data), Manifest)
    except ConfigError as error:
        assert error.problems and str(error)


SCRAPS = st.sampled_from(
    [key.name for key in KEYS]
    + "web x ./run 5m 02:30 1 commit ready - : , [ ] { } & * ! | > ' \" % @ ` # ~ ? ---".split()
    + ["\n", "\n  ", "\n    ", ": ", "- ", "<<", "&a", "*a", "\t", "\x00", "\u2028", "\x85", "é"]
)


@settings(max_examples=400)
@given(st.lists(SCRAPS, max_size=40).map(" ".join))
def test_any_yaml_like_text(text: str) -> None:
    """Text that looks like a manifest gives a Manifest or a ConfigError, with places that exist."""
    data = f"piot: 1\n{text}".encode()
    try:
        parse(data)
    except ConfigError as error:
        for problem in error.problems:
            assert 0 <= problem.line <= len(text) + 3
            assert problem.message
            assert str(problem)


VALUES = st.recursive(
    st.sampled_from(["", "x", "5m", "web", "1", "'a b'", "true", "always", "02:30", "[x]"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from([key.name for key in KEYS] + ["web", "x"]), inner, max_size=4
        ).map(lambda rows: f"{{{', '.join(f'{k}: {v}' for k, v in rows.items())}}}"),
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(VALUES)
def test_any_types(value: str) -> None:
    """Any type under any key gives a Manifest or a ConfigError."""
    for text in (value, f"{{piot: 1, services: {{web: {value}}}}}", f"{{piot: 1, jobs: {value}}}"):
        try:
            parse(text.encode())
        except ConfigError as error:
            assert str(error)


def test_both_parsers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no C parser, the same file gives the same manifest."""
    data = b"piot: 1\nenv: {A: ~, B: 'x'}\nservices:\n  web: {run: ./web $X}\n"
    fast = parse(data)
    monkeypatch.setattr(yamltext, "_LOADER", yaml.SafeLoader)
    assert parse(data) == fast
    assert problems("piot: 1\nservices:\n\tweb: 1\n") == ["3:1 a tab in the indentation"]


def test_table() -> None:
    """Each key is explained, has an example, and stands once in each block."""
    for key in KEYS:
        assert key.help and not key.help.endswith(".") and key.example
        assert set(key.where) <= set(KINDS)
    rows = [(where, key.name) for key in KEYS for where in key.where]
    assert len(rows) == len(set(rows))
