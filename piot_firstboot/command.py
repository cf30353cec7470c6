"""The command line of a service or job: split as a POSIX shell would, variables kept apart.

POSIX.1-2017, Shell Command Language, 2.2 Quoting and 2.6 Word Expansions; what a shell would do
beyond splitting and `$NAME` is refused rather than passed on with another meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that systemd replaces from the unit's environment when it starts."""

    name: str


# The pieces of one word of an argv, in order.
Word = tuple[str | Variable, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its words, and whether /bin/sh runs it.

    With `shell`, the only word is the script; otherwise the first word is the program.
    """

    words: tuple[Word, ...]
    shell: bool = False

    @property
    def program(self) -> str:
        """Return the first word as written."""
        return text_of(self.words[0])


class CommandError(ValueError):
    """A command line that is refused; `index` is the character at fault."""

    def __init__(self, index: int, message: str, hint: str = "") -> None:
        """Keep place and hint apart from the message."""
        self.index = index
        self.hint = hint
        super().__init__(message)


# Linux passes no longer string to a program: MAX_ARG_STRLEN, execve(2).
MAX_WORD = 128 * 1024 - 1
_OPERATORS = frozenset("|&;<>()")
_BLANKS = frozenset(" \t")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
# Words that no program stands behind, and what to do without: POSIX.1-2017, 2.4 Reserved Words,
# 2.14 Special Built-In Utilities. Those that are programs as well (echo, test) are not among them.
_ONLY_IN_A_SHELL = {
    "cd": "use dir:, or add shell: true",
    "exec": "leave exec out",
    "source": "name the program in the environment by its path, or add shell: true",
    ".": "name the program in the environment by its path, or add shell: true",
    **dict.fromkeys(
        ": ! { [[ alias bg break case continue do eval exit export fg for function if read "
        "readonly return select set shift times trap ulimit umask unset until wait while".split(),
        "add shell: true, or put it into a script",
    ),
}
_SHELL = "a pipe, list or redirection needs a shell: add shell: true, or put it into a script"


def text_of(word: Word) -> str:
    """Spell a word for people, variables as `${NAME}`."""
    return "".join(p if isinstance(p, str) else f"${{{p.name}}}" for p in word)


def literal(word: str) -> Word:
    """Make a word of exactly these characters."""
    return (word,) if word else ()


def split(line: str) -> Command:
    """Split a command line. Raises CommandError."""
    end = len(line.rstrip(" \t\n"))
    start = len(line) - len(line.lstrip(" \t\n"))
    words = tuple(_Splitter(line, start, end).words())
    if not words:
        raise CommandError(0, "the command is empty")
    _judge(words)
    first = line[start:end]
    bare = first.split(None, 1)[0]
    if bare in _ONLY_IN_A_SHELL:
        raise CommandError(
            start, f"{bare} is no program, but a word of the shell", _ONLY_IN_A_SHELL[bare]
        )
    if _ASSIGNMENT.match(first):
        name = first.partition("=")[0]
        raise CommandError(start, f"{name}= before the command needs a shell", "set it in env:")
    if any(isinstance(piece, Variable) for piece in words[0]):
        raise CommandError(start, "the program itself cannot be a variable", "name it literally")
    return Command(words)


def verbatim(words: tuple[str, ...]) -> Command:
    """Make a command of words that reach the program byte for byte. Raises CommandError."""
    if not words or not words[0].strip():
        raise CommandError(0, "the command is empty")
    found = tuple(literal(word) for word in words)
    _judge(found)
    return Command(found)


def script(text: str) -> Command:
    """Make a command of a script for /bin/sh. Raises CommandError."""
    if not text.strip():
        raise CommandError(0, "the command is empty")
    found = (literal(text.rstrip(" \t\n")),)
    _judge(found)
    return Command(found, shell=True)


def _judge(words: tuple[Word, ...]) -> None:
    """Refuse what no program can be given."""
    if not text_of(words[0]):
        raise CommandError(0, "the command is empty")
    for word in words:
        if any(isinstance(piece, str) and "\0" in piece for piece in word):
            raise CommandError(0, "a command cannot contain a NUL character")
        if len(text_of(word).encode()) > MAX_WORD:
            raise CommandError(0, "a word of the command is longer than 128 KiB")


class _Splitter:
    """One pass over a command line."""

    def __init__(self, line: str, start: int, end: int) -> None:
        self._line, self._at, self._end = line, start, end
        self._pieces: list[str | Variable] = []
        self._began = start  # where this word does
        self._open = False  # a word has begun, even if it is still empty

    def words(self) -> list[Word]:
        """Return the words of the line."""
        found: list[Word] = []
        while self._at < self._end:
            char = self._line[self._at]
            if not self._open:
                self._began = self._at
            if char in _BLANKS:
                self._close(found)
                self._at += 1
            elif char == "'":
                self._single()
            elif char == '"':
                self._double()
            elif char == "\\":
                self._backslash()
            elif char == "$":
                self._dollar()
            elif char in _OPERATORS:
                hint = _SHELL if char in "|&;<>" else "quote it, or add shell: true"
                raise CommandError(self._at, f"{self._operator()} is a shell operator", hint)
            elif char == "\n":
                raise CommandError(
                    self._at, "a command is one line", "fold it with `>`, or add shell: true"
                )
            elif char == "`":
                raise self._substitution("`")
            elif char == "*" and not self._line.startswith("-", self._began):
                message = "a * stands for files only in a shell"
                raise CommandError(self._at, message, "quote it, or add shell: true")
            elif char == "~" and not self._open:
                message = "~ stands for a home only in a shell"
                raise CommandError(self._at, message, "write the path, or add shell: true")
            elif char == "#" and not self._open:
                raise CommandError(self._at, "a # starts a comment in a shell", "quote it")
            else:
                self._text(char)
                self._at += 1
        self._close(found)
        return found

    def _operator(self) -> str:
        match = re.compile(r"\|\||&&|<<|>>|;;|.").match(self._line, self._at)
        return match[0] if match else ""

    def _substitution(self, sign: str) -> CommandError:
        hint = "add shell: true, or use single quotes if it is meant literally"
        return CommandError(self._at, f"{sign} runs a command, which needs a shell", hint)

    def _text(self, text: str) -> None:
        self._open = True
        if self._pieces and isinstance(self._pieces[-1], str):
            self._pieces[-1] += text
        elif text:
            self._pieces.append(text)

    def _close(self, found: list[Word]) -> None:
        if self._open:
            found.append(tuple(self._pieces))
        self._pieces, self._open = [], False

    def _single(self) -> None:
        close = self._line.find("'", self._at + 1, self._end)
        if close < 0:
            raise CommandError(self._at, "this quote is never closed")
        self._text(self._line[self._at + 1 : close])
        self._at = close + 1

    def _double(self) -> None:
        opened = self._at
        self._text("")
        self._at += 1
        while self._at < self._end:
            char = self._line[self._at]
            if char == '"':
                self._at += 1
                return
            if char == "$":
                self._dollar()
            elif char == "`":
                raise self._substitution("`")
            elif char == "\\" and self._line[self._at + 1 : self._at + 2] in ("$", "`", '"', "\\"):
                self._text(self._line[self._at + 1])
                self._at += 2
            elif self._line.startswith("\\\n", self._at):
                self._at += 2
            else:
                self._text(char)
                self._at += 1
        raise CommandError(opened, "this quote is never closed")

    def _backslash(self) -> None:
        if self._at + 1 >= self._end:
            raise CommandError(self._at, "a backslash at the end", "double it, or quote it")
        char = self._line[self._at + 1]
        if char != "\n":  # POSIX: a backslash before a newline joins the lines
            self._text(char)
        self._at += 2

    def _dollar(self) -> None:
        """Read `$NAME`, `${NAME}`, `$$` or a lone dollar."""
        rest = self._line[self._at + 1 : self._end]
        if rest.startswith("$"):
            self._text("$")
            self._at += 2
        elif rest.startswith("("):
            raise self._substitution("$(")
        elif rest.startswith("{"):
            name, brace, _ = rest[1:].partition("}")
            if not brace or not _NAME.fullmatch(name):
                raise CommandError(
                    self._at,
                    "only ${NAME} is replaced here",
                    "write $$ for a dollar, or add shell: true",
                )
            self._variable(name, len(name) + 3)
        elif match := _NAME.match(rest):
            self._variable(match[0], len(match[0]) + 1)
        elif rest[:1] and rest[0] in "0123456789@*#?!-":
            raise CommandError(
                self._at, f"${rest[0]} has a meaning only in a shell", "write $$ for a dollar"
            )
        else:
            self._text("$")
            self._at += 1

    def _variable(self, name: str, width: int) -> None:
        self._open = True
        self._pieces.append(Variable(name))
        self._at += width
