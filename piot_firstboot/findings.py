"""What a check found, as text for people and in the forms that programs ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from piot_firstboot import __version__
from piot_firstboot.errors import Problem

FORMATS = ("text", "json", "github", "sarif")
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# What a file is to the reader of a SARIF log, by the end of its name.
_RULES = {
    "piot.conf": ("conf", "A mistake in piot.conf"),
    "Procfile": ("procfile", "A mistake in a Procfile"),
    "": ("manifest", "A mistake in .piot.yaml"),
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and what is allowed but hardly meant."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def all(self) -> Iterator[tuple[str, Problem]]:
        """Yield every finding with its level, in the words of GitHub and SARIF."""
        yield from (("error", problem) for problem in self.problems)
        yield from (("warning", problem) for problem in self.warnings)


def show(findings: Findings, form: str) -> str:
    """Return the findings in one of FORMATS, without a newline at the end."""
    match form:
        case "json":
            return _json(findings)
        case "github":
            return "\n".join(_github(level, problem) for level, problem in findings.all())
        case "sarif":
            return json.dumps(_sarif(findings), indent=1)
        case _:
            return _text(findings)


def _text(findings: Findings) -> str:
    lines = [str(problem) for problem in findings.problems]
    lines += [_warning(problem) for problem in findings.warnings]
    numbers = (len(findings.problems), "problem"), (len(findings.warnings), "warning")
    counts = [f"{number} {word}{'s' * (number > 1)}" for number, word in numbers if number]
    return "\n".join([*lines, ", ".join(counts) or "no problems"])


def _warning(problem: Problem) -> str:
    """Mark a warning behind its place, where compilers do."""
    text = str(problem)
    return text.replace(f": {problem.message}", f": warning: {problem.message}", 1)


def _json(findings: Findings) -> str:
    def rows(problems: Iterable[Problem]) -> list[dict[str, str | int]]:
        return [problem.values() for problem in problems]

    found = {"problems": rows(findings.problems), "warnings": rows(findings.warnings)}
    return json.dumps(found, indent=1)


def _github(level: str, problem: Problem) -> str:
    """Spell a finding as a workflow command of GitHub Actions, which marks the line in a diff."""
    places = {"file": _slashes(problem.source)}
    if problem.line:
        end = problem.column + max(1, problem.width)
        places |= {
            "line": str(problem.line), "col": str(problem.column), "endColumn": str(end)
        }  # fmt: skip
    places["title"] = "piot check"
    given = ",".join(f"{key}={_property(value)}" for key, value in places.items())
    text = problem.message + (f"\nhint: {problem.hint}" if problem.hint else "")
    return f"::{level} {given}::{_data(text)}"


def _data(text: str) -> str:
    """Escape what ends a workflow command: actions/toolkit, packages/core/src/command.ts."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _slashes(path: str) -> str:
    """Return a path as URLs and GitHub have it, also when Windows made it."""
    return path.replace("\\", "/")


def _rule(source: str) -> tuple[str, str]:
    return next(rule for end, rule in _RULES.items() if source.removesuffix(".txt").endswith(end))


def _sarif(findings: Findings) -> dict[str, object]:
    """Return a log of SARIF 2.1.0, which code scanning and editors read."""
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.values()]
    driver = {"name": "piot check", "version": __version__, "rules": rules}
    results = [_result(level, problem) for level, problem in findings.all()]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(level: str, problem: Problem) -> dict[str, object]:
    place: dict[str, object] = {"artifactLocation": {"uri": _uri(problem.source)}}
    if problem.line:
        place["region"] = {
            "startLine": problem.line,
            "startColumn": problem.column,
            "endColumn": problem.column + max(1, problem.width),
        }
    text = problem.message + (f" ({problem.hint})" if problem.hint else "")
    return {
        "ruleId": _rule(problem.source)[0],
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }


def _uri(path: str) -> str:
    """Spell a path as a URI reference: RFC 3986, with what a path may hold left as it is."""
    kept = frozenset("-._~/!$&'()*+,;=@")
    octets = _slashes(path).encode("utf-8", "surrogateescape")
    spelled = "".join(
        chr(b) if chr(b) in kept or (b < 128 and chr(b).isalnum()) else f"%{b:02X}" for b in octets
    )
    # What looks like a scheme (C:) or a host (//) would be taken for one; and SARIF 2.1.0, 3.10.1,
    # wants what is absolute to say so.
    if path[1:3] in (":\\", ":/"):
        return f"file:///{spelled.replace('%3A', ':', 1)}"
    if path.startswith("\\\\"):
        return f"file:{spelled}"
    return f"file://{spelled}" if spelled.startswith("/") else spelled
