"""Options and arguments that several verbs have."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Verbs = _SubParsersAction[ArgumentParser]


def add_verb(verbs: Verbs, name: str, run: Callable[[Namespace], int], help: str) -> ArgumentParser:
    """Add a verb that runs a function."""
    parser = verbs.add_parser(name, help=help, formatter_class=RawDescriptionHelpFormatter)
    parser.set_defaults(run=run)
    return parser


def address(text: str) -> tuple[str, int]:
    """Read ADDR:PORT."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def time_span(text: str) -> float:
    """Read a time span, such as 2min; returns seconds."""
    from piot_firstboot.schedule import span_seconds

    try:
        return span_seconds(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def app_argument(parser: ArgumentParser, text: str) -> None:
    """Let a verb be told which app it is about."""
    parser.add_argument("app", nargs="?", metavar="APP", help=text)


def all_option(parser: ArgumentParser) -> None:
    """Let a verb look at sections that did not change, too."""
    text = "look at every section, also those that are as they were when last applied"
    parser.add_argument("--all", action="store_true", help=text)


def root_option(parser: ArgumentParser) -> None:
    """Let a verb work on a tree instead of the running system."""
    text = "work on the tree in DIR, files only, instead of the running system"
    parser.add_argument("--root", metavar="DIR", default="/", help=text)
