"""Start a program with next to nothing loaded: subprocess would take half of what a poll may.

`posix` is what `os` is made of; to import that takes 5 million instructions, of a poll's 40.
"""

import posix
import select

Environment = dict[str, str]
_PATH = b"/usr/local/bin:/usr/bin:/bin"
_QUIET = (posix.POSIX_SPAWN_OPEN, 2, "/dev/null", posix.O_WRONLY, 0)


def start(argv: tuple[str, ...], more: Environment, given: int, taken: int) -> int:
    """Start a program that reads from one descriptor and prints to another; 0 if there is none.

    Its environment is the path for programs and `more`; what it complains of, nobody sees.
    """
    actions = [(posix.POSIX_SPAWN_DUP2, given, 0), (posix.POSIX_SPAWN_DUP2, taken, 1), _QUIET]
    environment: dict[str, str | bytes] = {"PATH": posix.environ.get(b"PATH", _PATH), **more}
    try:
        return posix.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    except OSError:
        return 0


def output(argv: tuple[str, ...], more: Environment, patience: float) -> bytes | None:
    """Run a program and return what it prints; None when it fails or takes too long."""
    nothing = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
    reader, writer = posix.pipe()
    child = start(argv, more, nothing, writer)
    posix.close(nothing)
    posix.close(writer)
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    text = b""
    while child and waiting.poll(patience * 1000):
        data = posix.read(reader, 65536)
        if not data:
            break
        text += data
    else:
        if child:
            posix.kill(child, 9)
    posix.close(reader)
    if not child:
        return None
    _, status = posix.waitpid(child, 0)
    return text if status == 0 else None
