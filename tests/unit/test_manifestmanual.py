"""piot.yaml(5) and the JSON Schema: both are the table, and neither says what is not so."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from piot_firstboot import manifestmanual, yamltext
from piot_firstboot.blocks import Key
from piot_firstboot.manifest import parse
from piot_firstboot.schema import KEYS, KINDS
from piot_firstboot.yamltext import Mapping, Node, Sequence
from tests.unit.test_cases_manifest import CASES, GOOD, NAMES

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA: dict[str, Any] = json.loads(manifestmanual.json_schema())
ROWS = [(where, key) for key in KEYS for where in key.where]

# Kind of block → the smallest manifest around an example of one of its keys.
AROUND = {
    "top": "piot: 1\nservices: {{web: {{run: ./web}}}}\n{row}\n",
    "services": "piot: 1\nservices: {{broker: {{run: ./x}}, web: {{run: ./web, {row}}}}}\n",
    "jobs": "piot: 1\njobs: {{snap: {{run: ./x, every: 1h}}, up: {{run: ./up, {more}{row}}}}}\n",
    "health": "piot: 1\nservices: {{web: {{run: ./web, health: {{{row}}}}}}}\n",
    "journal": "piot: 1\nservices: {{web: {{run: ./w, health: {{journal: {{{more}{row}}}}}}}}}\n",
    "app_journal": "piot: 1\njobs:\nhealth: {{journal: {{{more}{row}}}}}\n",
    "retry": "piot: 1\njobs: {{up: {{run: ./up, every: 1h, retry: {{{more}{row}}}}}}}\n",
    "when": "piot: 1\nservices: {{web: {{run: ./web, when: {{{row}}}}}}}\n",
    "unit_needs": "piot: 1\nservices: {{web: {{run: ./web, needs: {{{row}}}}}}}\n",
    "needs": "piot: 1\njobs:\nneeds: {{{row}}}\n",
    "update": "piot: 1\nservices: {{web: {{run: ./web}}}}\nupdate: {{{row}}}\n",
    "app_health": "piot: 1\njobs:\nhealth: {{{row}}}\n",
    "fleet": "piot: 1\njobs:\nfleet: {{{row}}}\n",
    "role": "piot: 1\njobs:\nfleet: {{roles: {{sensor: {{{row}}}}}}}\n",
    "ring": "piot: 1\njobs:\nfleet: {{rings: {{canary: {{{row}}}}}}}\n",
}
# What has to stand beside a key.
BESIDE = {
    ("journal", "within"): "expect: x, ",
    ("journal", "max"): "reject: x, ",
    ("journal", "per"): "reject: x, ",
    ("app_journal", "max"): "reject: x, ",
    ("app_journal", "per"): "reject: x, ",
    ("retry", "wait"): "times: 1, ",
    ("jobs", "catch_up"): "at: daily, ",
    ("jobs", "watch"): "once: commit, ",
}
SKIP_AROUND = {("top", "piot"), ("top", "services"), ("services", "run"), ("jobs", "run")}


@pytest.mark.parametrize(
    ("name", "made"),
    [("piot.yaml.5", manifestmanual.page), ("piot.schema.json", manifestmanual.json_schema)],
)
def test_the_file_is_what_the_table_says(name: str, made: Any) -> None:
    """The message says how to renew it."""
    call = f"from piot_firstboot.manifestmanual import {made.__name__} as f; print(f(), end='')"
    assert (DOCS / name).read_text() == made(), f'python3 -c "{call}" >docs/{name}'


def test_the_page_names_every_key() -> None:
    text = (DOCS / "piot.yaml.5").read_text().replace("\\-", "-")
    parts = dict(re.findall(r"(?ms)^\.SH (KEYS [^\n]*)\n(.*?)(?=^\.SH)", text))
    assert len(parts) == len(KINDS)
    for (where, title), part in zip(manifestmanual._PARTS, parts.values(), strict=True):
        assert re.findall(r"(?m)^\.BR (\w+) ", part) == list(KINDS[where].rows), title


def test_man_has_nothing_to_complain_of() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", DOCS / "piot.yaml.5"],
        capture_output=True,
        text=True,
    )
    # No date: the page is made of the table, whenever that changes.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.parametrize(("where", "key"), ROWS, ids=lambda x: getattr(x, "name", x))
def test_every_example_is_good(where: str, key: Key) -> None:
    """What the page and editors show of a key is accepted as it stands."""
    row = f"{key.name}: {key.example}"
    more = BESIDE.get((where, key.name), "")
    if where == "jobs" and not more and key.name not in ("every", "at", "once"):
        more = "every: 1h, "
    text = AROUND[where].format(row=row, more=more)
    if (where, key.name) in SKIP_AROUND:
        text = {"piot": f"{row}\njobs:\n", "services": f"piot: 1\n{row}\n"}.get(
            key.name, f"piot: 1\n{where}: {{a: {{{row}, {'every: 1h' * (where == 'jobs')}}}}}\n"
        )
    if key.name == "watchdog":
        text = text.replace("watchdog", "notify: ready, watchdog")
    if (where, key.name) == ("top", "jobs"):
        text = f"piot: 1\n{row}\n"
    parse(text.encode())
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize("name", GOOD)
def test_an_editor_accepts_every_good_case(name: str) -> None:
    data = (CASES / name / ".piot.yaml").read_bytes()
    jsonschema.validate(_as_text(yamltext.read(data, name).root), SCHEMA)


def test_an_editor_finds_what_a_schema_can() -> None:
    """Names, types and choices; what one value says of another is left to piot check."""
    found = []
    for name in NAMES:
        root = yamltext.read((CASES / name / ".piot.yaml").read_bytes(), name).root
        if name.startswith("bad-") and root is not None:
            validator = jsonschema.Draft7Validator(SCHEMA)
            if list(validator.iter_errors(_as_text(root))):
                found.append(name)
    for name in ("unknown-keys", "types", "no-run", "no-version", "job-when", "restart", "update"):
        assert f"bad-{name}" in found
    assert len(found) > 25


def used(node: Node | None, where: str = "top") -> set[tuple[str, str]]:
    """Return the keys that a manifest uses, each with its kind of block."""
    found: set[tuple[str, str]] = set()
    for key, value in node.pairs if isinstance(node, Mapping) else ():
        row = KINDS[where].rows.get(key.text)
        if row is None:
            continue
        found.add((where, key.text))
        shape = row.type.schema
        if "$ref" in shape:
            found |= used(value, shape["$ref"].rpartition("/")[2])
        elif isinstance(inner := shape.get("additionalProperties"), dict) and "$ref" in inner:
            for _, block in value.pairs if isinstance(value, Mapping) else ():
                found |= used(block, inner["$ref"].rpartition("/")[2])
    return found


def test_every_key_has_a_good_case_and_a_bad_one() -> None:
    """A key of the table stands in a folder that is accepted, and at fault in one that is not."""
    good: set[tuple[str, str]] = set()
    for name in GOOD:
        good |= used(yamltext.read((CASES / name / ".piot.yaml").read_bytes(), name).root)
    assert set((where, key.name) for where, key in ROWS) - good == set()
    blamed = "".join((CASES / n / "expected.err").read_text() for n in NAMES if n not in GOOD)
    missing = [k.name for k in KEYS if not re.search(rf"(?m)^\S+: .*\b{k.name}\b", blamed)]
    assert missing == []


def _as_text(node: Node | None) -> Any:
    """Load a manifest as an editor would: flags and numbers typed, all else as it is written."""
    if isinstance(node, Mapping):
        return {key.text: _as_text(value) for key, value in node.pairs}
    if isinstance(node, Sequence):
        return [_as_text(item) for item in node.items]
    if node is None or (node.plain and not node.text):
        return None
    typed = node.text.isdecimal() or node.text in ("yes", "no", "true", "false")
    return yaml.safe_load(node.text) if node.plain and typed else node.text
