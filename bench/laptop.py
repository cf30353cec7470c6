"""./dev bench laptop: `piot check` and `piot render` beside what foreman and honcho take to export.

All render units for systemd of the same processes, on this computer, in one run; compare within a
row. CPU is user + system of the command and its children, wall and CPU are medians. honcho comes
from PyPI into the cache, foreman from Debian; whichever cannot be had is left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.kit.cache import build_once, cache_dir

CHECKOUT = Path(__file__).parents[1]
SIZES = (10, 100, 1000)
RUNS = 7
# Seconds of wall for 1,000 units on 2 cores.
LIMITS = {"piot check": 1.0, "piot render": 2.0, "piot render --out": 2.0}


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(prog="./dev bench laptop", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    args = parser.parse_args()
    peers = dict(exporters())
    print(f"{'':22}" + "".join(f"{f'{size} units':>22}" for size in SIZES))
    print(f"{'':22}" + f"{'wall ms':>13}{'CPU ms':>9}" * len(SIZES))
    missed = []
    with tempfile.TemporaryDirectory(prefix="piot-bench-") as scratch:
        folders = {size: repository(Path(scratch, str(size)), size) for size in SIZES}
        for name, argv in {**ours(), **peers}.items():
            cells = []
            for folder in folders.values():
                wall, cpu = measure([*argv, str(folder / "out")], folder, args.runs)
                cells.append(f"{wall * 1000:13.0f}{cpu * 1000:9.0f}")
            print(f"{name:22}{''.join(cells)}", flush=True)
            if name in LIMITS and wall > LIMITS[name]:
                missed.append(f"{name}: {wall:.2f} s, {LIMITS[name]:g} s are allowed")
    for name, limit in () if missed else LIMITS.items():
        print(f"{name} of 1,000 units stays below {limit:g} s")
    print("\n".join(missed), end="\n" if missed else "")
    return 1 if missed else 0


def ours() -> dict[str, list[str]]:
    """Return our commands; the shell swallows the place that the exporters are given."""
    piot = f"{sys.executable} -m piot_firstboot"
    return {
        "python3 -c pass": ["sh", "-c", f"{sys.executable} -c pass"],
        "piot check": ["sh", "-c", f"{piot} check ."],
        "piot render": ["sh", "-c", f"{piot} render ."],
        "piot render --out": ["sh", "-c", f'{piot} render . --out "$0"'],
    }


def exporters() -> Iterator[tuple[str, list[str]]]:
    """Yield the peers that can be had, with the command that exports a Procfile for systemd."""
    try:
        honcho = build_once(cache_dir() / "bench-honcho", install_honcho)
        yield "honcho export", [str(honcho / "bin/python"), "-m", "honcho", "export", "systemd"]
    except subprocess.CalledProcessError as error:
        print(f"honcho is left out: {error}", file=sys.stderr)
    if not shutil.which("foreman"):
        apt = ["apt-get", "-q", "-y", "--no-install-recommends", "install", "ruby-foreman"]
        subprocess.run(apt, check=False, capture_output=True)
    if shutil.which("foreman"):
        yield "foreman export", ["foreman", "export", "systemd"]
    else:
        print("foreman is left out: Debian here has no ruby-foreman", file=sys.stderr)


def install_honcho(part: Path) -> None:
    """Make an environment with honcho; its programs are started through Python, so it may move."""
    subprocess.run([sys.executable, "-m", "venv", str(part)], check=True)
    pip = [str(part / "bin/python"), "-m", "pip", "-q", "install", "honcho[export]==2.0.0"]
    subprocess.run(pip, check=True)


def repository(folder: Path, units: int) -> Path:
    """Make an app with so many units, half services and half jobs, and a Procfile of as many."""
    folder.mkdir()
    rows = ["piot: 1", "name: bench", "services:"]
    for n in range(units // 2):
        rows += [
            f"  s{n:03}:",
            f"    run: python3 -m app.s{n} --port {2000 + n}",
            f'    env: {{NUMBER: "{n}"}}',
            f"    health: {{http: 'http://localhost:{2000 + n}/healthz', within: 20s}}",
        ]
    rows.append("jobs:")
    for n in range(units - units // 2):
        rows += [
            f"  j{n:03}:",
            f"    run: python3 -m app.j{n}",
            f'    at: "{n % 24:02}:{n % 60:02}"',
            "    jitter: 5m",
            "    timeout: 10m",
        ]
    (folder / ".piot.yaml").write_text("".join(f"{row}\n" for row in rows))
    lines = [f"p{n}: python3 -m app.p{n} --port {2000 + n}\n" for n in range(units)]
    (folder / "Procfile").write_text("".join(lines))
    return folder


def measure(argv: Sequence[str], folder: Path, runs: int) -> tuple[float, float]:
    """Return the median seconds of wall and CPU of a command, its first run left out."""
    wall, cpu = [], []
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(runs + 1):
        shutil.rmtree(folder / "out", ignore_errors=True)
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, check=False)
        wall.append(time.perf_counter() - began)
        after = os.times()
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}\n{done.stderr.decode()}")
        used = after.children_user + after.children_system
        cpu.append(used - before.children_user - before.children_system)
    return statistics.median(wall[1:]), statistics.median(cpu[1:])


if __name__ == "__main__":
    sys.exit(main())
