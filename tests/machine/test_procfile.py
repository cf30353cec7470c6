"""An app that has a Procfile and no .piot.yaml, as Heroku and piku run it."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit import deb, roots
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.wait import eventually

FILES = {
    "Procfile": (
        "# what runs here\n"
        "web: python -m http.server $PORT\n"
        "worker: echo working >>$STATE_DIRECTORY/ran; exec sleep infinity\n"
        "release: ./note release\n"
        "cron1: * * * * * ./note cron\n"
    ),
    "ENV": "GREETING=good morning\n",
    "note": '#!/bin/sh\necho "$1 $GREETING" >>"$STATE_DIRECTORY/ran"\n',
}


def test_a_procfile_is_all_that_an_app_needs(
    machine: Callable[..., Machine], git_server: Callable[..., GitServer], release: str
) -> None:
    pi = machine(roots.base(release)).boot()
    repo = git_server(pi).repo("old")
    repo.commit(FILES)
    pi.install(deb.deb())
    pi.write("/boot/firmware/piot.conf", f"[app]\nrepo = {repo.url}\npoll = off\n")
    pi.sh("piot apply; systemctl start piot-deploy@old")
    port = pi.sh("systemctl show -P MainPID piot-old-web | xargs -I% cat /proc/%/environ"
                 " | tr '\\0' '\\n' | sed -n s/^PORT=//p")  # fmt: skip
    eventually(
        lambda: pi.run(f"curl -sf localhost:{port}", check=False).returncode == 0, 20, "web", 0.5
    )
    lines = pi.read("/var/lib/piot-old/ran").splitlines()
    assert lines[0] == "release good morning" and "working" in lines
    assert "piot-old-cron1.timer" in pi.sh("systemctl list-timers --all 'piot-*'")
    done = "grep -q '^cron good morning' /var/lib/piot-old/ran"
    eventually(lambda: pi.run(done, check=False).returncode == 0, 90, "the minute's job", 1)
