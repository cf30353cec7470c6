"""What a command changes on disk, as the kernel sees it."""

from collections.abc import Sequence

from tests.kit.machine import Machine

_OPENING = "open,openat,openat2,creat"
_CHANGING = (
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,link,linkat,"
    "chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,truncate,ftruncate,utimensat,"
    "fsync,fdatasync,sync,syncfs,mknod,mknodat"
)
_LOG = "/run/strace.log"
# Neither a disk nor anything that lasts: pipes, terminals, the kernel's own files.
_HARMLESS = ('"/dev/', '"/proc/')


def changes(machine: Machine, argv: Sequence[str]) -> list[str]:
    """Run a command and return each of its calls that changed, or could change, a file system."""
    trace = f"trace={_OPENING},{_CHANGING}"
    machine.run(["strace", "-f", "-q", "-o", _LOG, "-e", trace, *argv], timeout=120)
    return [call for call in machine.read(_LOG).splitlines() if _counts(call)]


def opened(machine: Machine, argv: Sequence[str]) -> str:
    """Run a command and return its opening of files, one call a line."""
    machine.run(["strace", "-f", "-q", "-o", _LOG, "-e", f"trace={_OPENING}", *argv], timeout=120)
    return machine.read(_LOG)


def _counts(call: str) -> bool:
    """Tell whether a traced call is a change: any but an open for reading."""
    name = call.split(maxsplit=1)[1]
    if name.startswith(("+++", "---")) or any(path in name for path in _HARMLESS):
        return False
    if not name.startswith(tuple(f"{o}(" for o in _OPENING.split(","))):
        return True
    return any(flag in name for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
