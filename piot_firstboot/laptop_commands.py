"""What each verb for a laptop does. Nothing here may need Linux, root or another program."""

from __future__ import annotations

from argparse import Namespace

REFUSED = 1  # an exit code; `cli` says what they mean


def check(args: Namespace) -> int:
    """Find mistakes in files."""
    from piot_firstboot import check, findings

    found = check.check(args.path)
    shown = findings.show(found, "json" if args.json else args.format)
    if shown:
        print(shown)
    return REFUSED if found.problems else 0


def render(args: Namespace) -> int:
    """Show the units of a manifest."""
    from piot_firstboot import preview

    told = args.json or not args.out  # when the timers run; the files do not say it
    shown = preview.preview(
        args.dir,
        release=args.release,
        app=args.app or "",
        host=args.host or "",
        role=args.role or "",
        timezone=args.timezone or "",
        runs=preview.RUNS if told else 0,
    )
    if args.out:
        names = preview.write(shown, args.out)
        if not told:
            print(f"{len(names)} units for {args.release} written to {args.out}")
            return 0
    print(shown.json() if args.json else shown.text().rstrip())
    return 0


def init(args: Namespace) -> int:
    """Write a first manifest."""
    from piot_firstboot import init

    draft = init.init(args.dir, from_procfile=args.from_procfile, force=args.force)
    print(draft.json() if args.json else draft.report())
    return 0


def compare(args: Namespace) -> int:
    """Show what a device would change for a folder."""
    from piot_firstboot import compare

    found = compare.compare(
        args.dir or ".", root=args.root, host=args.host or "", app=args.app or ""
    )
    print(found.json() if args.json else found.text())
    return 0


def convert(args: Namespace) -> int:
    """Turn files of other tools into a piot.conf."""
    from piot_firstboot import convert
    from piot_firstboot.notify import complain

    done = convert.convert(args.file)
    if args.output and not done.problems:
        convert.write(args.output, done.text, force=args.force)
    if args.json:
        print(done.json())
    elif not args.output:
        print(done.text, end="")
    if not args.json:
        complain(done.report())
    return REFUSED if done.problems else 0
