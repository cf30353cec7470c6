"""Where symbolic links of a tree lead, without touching a file system."""

from __future__ import annotations

from collections.abc import Mapping

_MOST = 40  # links one after the other, as the kernel takes them: path_resolution(7)


def escapes(links: Mapping[str, str], path: str) -> bool:
    """Tell whether a link leads out of the tree, on its own or through others.

    `links` holds the target of every link of the tree by its path. A link to nothing or to itself
    leads nowhere, and /dev/null is nowhere too.
    """
    if links[path] == "/dev/null":
        return False
    here = path.split("/")[:-1]
    left = links[path].split("/")[::-1]
    if links[path].startswith("/"):
        return True
    followed = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return True
            here.pop()
            continue
        here.append(part)
        target = links.get("/".join(here))
        if target is None:
            continue
        followed += 1
        if followed > _MOST:
            return False
        if target.startswith("/"):
            # The end of the way is judged at its own link; in the middle it leads out.
            return target != "/dev/null" or bool(left)
        here.pop()
        left.extend(target.split("/")[::-1])
    return False
