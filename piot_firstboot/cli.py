"""The command line. Units and people run the same verbs; only here an exit code is picked.

0: done, or nothing to do. 1: refused, rolled back, or a wrong file. 2: wrong usage.
75: the repository did not answer, try later (EX_TEMPFAIL). 77: needs root (EX_NOPERM; both as
in sysexits.h).
"""

from __future__ import annotations

import os
import sys

from piot_firstboot.arguments import parser
from piot_firstboot.commands import NOPERM, REFUSED, code_of


def main(argv: list[str]) -> int:
    """Run one verb and return its exit code."""
    from piot_firstboot.errors import ApplyError, ConfigError
    from piot_firstboot.notify import complain, status

    if not argv:
        parser().print_help()
        return 2
    args = parser().parse_args(argv)
    # A Windows console may lack a character of a message; the rest must reach the person.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # Apps must be able to read their releases, whatever the umask of the one who typed this.
    os.umask(0o022)
    try:
        code: int = args.run(args)
    except ConfigError as error:
        complain(str(error))
        return REFUSED
    except ApplyError as error:
        status(str(error))
        complain(f"piot: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))
        return code_of(error)
    except PermissionError as error:
        complain(f"piot: {error.filename}: permission denied\nhint: sudo piot {' '.join(argv)}")
        return NOPERM
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"piot: {where}{error.strerror or error}")
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return code
