"""What each verb for a laptop does. Nothing here may need Linux, root or another program."""

from __future__ import annotations

from argparse import Namespace

REFUSED = 1  # an exit code; `cli` says what they mean


def check(args: Namespace) -> int:
    """Find mistakes in files."""
    from piot_firstboot import check

    problems = check.check(args.file)
    if args.json:
        print(check.problems_json(problems))
    elif problems:
        print("\n".join(str(problem) for problem in problems))
        print(f"{len(problems)} problem{'s' * (len(problems) > 1)}")
    else:
        print("no problems")
    return REFUSED if problems else 0


def render(args: Namespace) -> int:
    """Show the units of a manifest."""
    from piot_firstboot import check

    for path, text in check.render(args.dir, release=args.release, app=args.app or "").items():
        print(f"### {path}\n{text}")
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
