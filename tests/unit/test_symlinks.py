"""Where links lead, held against what the kernel makes of the same tree."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot.symlinks import escapes

PLACES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "f/a")
_parts = st.sampled_from(["a", "b", "c", "d", "e", "f", "..", "..", ".", ""])
_targets = st.one_of(
    st.lists(_parts, min_size=1, max_size=6).map("/".join).filter(bool),
    st.sampled_from(["/etc", "/dev/null", "..", "../..", "/"]),
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(PLACES), _targets, min_size=1, max_size=6))
def test_no_link_that_leads_out_is_taken_for_one_that_does_not(links: dict[str, str]) -> None:
    """Links that the kernel follows out of the tree are found, whatever others are in between."""
    folder = Path(os.path.realpath(tempfile.mkdtemp())) / "deep/er/root"
    try:
        for path, target in links.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        for path in links:
            try:
                end = os.path.realpath(folder / path, strict=True)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    continue  # it leads nowhere, as often as it is followed
                end = os.path.realpath(folder / path)
            inside = end == str(folder) or end.startswith(f"{folder}/") or end == "/dev/null"
            assert inside or escapes(links, path), f"{path} leads to {end}"
    finally:
        shutil.rmtree(folder.parents[2])
