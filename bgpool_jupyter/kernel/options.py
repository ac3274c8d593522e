"""The grammar of the magics: one parser for each, from which its help, its errors and its completions come.

Code must reach IPython exactly as it was written, with its quotes and spaces. So a line is not split into
words; options are taken from its front one by one, and what is left over stays as it is.
"""

from __future__ import annotations

import argparse
import difflib
import io
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from IPython.core.error import UsageError

__all__ = ["HelpShown", "MagicParser", "Option"]


class HelpShown(Exception):
    """The line asked for help, which was printed; there is nothing else to do."""


class Option(NamedTuple):
    """An option of a magic."""

    #: Without the dashes, as in "max-count".
    name: str
    help: str
    #: What its value is called; None for a flag.
    value: str | None = None
    #: The letter of its short form.
    letter: str = ""
    choices: Sequence[str] = ()
    default: Any = None
    #: Turns the text into the value; raises a ValueError that says what is wrong and the way out.
    convert: Callable[[str], Any] | None = None

    @property
    def key(self) -> str:
        """The name as a word of Python."""
        return self.name.replace("-", "_")

    @property
    def flags(self) -> tuple[str, ...]:
        """The forms in which it is written, the long one last."""
        return (f"-{self.letter}", f"--{self.name}") if self.letter else (f"--{self.name}",)


class MagicParser:
    """Parses the lines of one magic.

    Parameters
    ----------
    magic
        Its name with the percent sign.
    usage
        What follows the options, as in "INTERVAL code".
    summary
        What the magic does, the first paragraph of its help.
    options
        Its options; ``-h`` comes by itself.
    notes
        The last paragraphs of its help.

    Notes
    -----
    Threads: may be used from any thread; returns at once.
    """

    def __init__(self, magic: str, usage: str, summary: str, options: Sequence[Option], notes: str = "") -> None:
        self.magic = magic
        self.options = {flag: option for option in options for flag in option.flags}
        # argparse lays out the help; taking a line apart is not for it, because it must not split the code.
        self._parser = argparse.ArgumentParser(
            prog=magic,
            usage=f"{magic} [options] {usage}".replace("%", "%%"),
            description=summary,
            epilog=notes,
            formatter_class=_formatter,
            add_help=False,
        )
        self._parser.color = False  # type: ignore[attr-defined] # from Python 3.14 on: the help is also a docstring
        self._parser._optionals.title = "options"  # noqa: SLF001 - the documented way to rename it
        self._parser.add_argument("-h", "--help", action="store_true", help="show this help")
        for option in options:
            if option.value is None:
                self._parser.add_argument(*option.flags, action="store_true", help=option.help)
            else:
                self._parser.add_argument(*option.flags, metavar=option.value, help=option.help)

    @property
    def help(self) -> str:
        """The help, as ``-h`` prints it."""
        return self._parser.format_help().strip()

    def take_options(self, line: str, *, only_long: bool = False) -> tuple[dict[str, Any], str]:
        """Take the options from the front of a line.

        Parameters
        ----------
        line
            What follows the magic's name.
        only_long
            Leave short options in the line, where they would be code (``-n`` is a negative number).

        Returns
        -------
        tuple
            The options that were given, by name with underscores; and the rest of the line.

        Raises
        ------
        UsageError
            If an option is unknown, has no value or one that cannot be used.
        HelpShown
            If help was asked for; it was printed.
        """
        values = {o.key: False if o.value is None else o.default for o in self.options.values()}
        rest = line.lstrip()
        while self._option_ahead(rest, only_long=only_long):
            word, rest = self._word(rest)
            if word == "--":
                break
            flag, equals, value = word.partition("=")
            if flag in {"-h", "--help"}:
                print(self.help)  # noqa: T201 - the answer to the person who asked
                raise HelpShown
            option = self._known(flag)
            if option.value is None:
                if equals:
                    self.refuse(f"{flag} takes no value; leave {equals + value!r} out")
                values[option.key] = True
                continue
            if not equals:
                if not rest:
                    self.refuse(f"{flag} needs a value, as in {flag} {option.value}")
                value, rest = self._word(rest)
            values[option.key] = self._converted(option, value)
        return values, rest

    def take_words(self, line: str) -> tuple[dict[str, Any], list[str]]:
        """Take a line of options and words in any order; those after ``--`` are words.

        Raises
        ------
        UsageError
            As for :meth:`take_options`.
        """
        values, rest = self.take_options(line)
        defaults, _ = self.take_options("")
        words = []
        while rest:
            word, rest = self._word(rest)
            words.append(word)
            more, rest = self.take_options(rest)
            values |= {key: value for key, value in more.items() if value != defaults[key]}
        return values, words

    def _option_ahead(self, rest: str, *, only_long: bool) -> bool:
        if not rest.startswith("-") or rest[1:2].isdigit() or rest[1:2] == ".":
            return False  # a negative number is for the one who reads the INTERVAL to refuse
        flag = rest.split(None, 1)[0].partition("=")[0]
        return not only_long or (flag.startswith("--") and flag in self.options)

    def _word(self, text: str) -> tuple[str, str]:
        """Take a word, in quotes or not, from the front of a text."""
        stream = io.StringIO(text)
        try:
            word = _lexer(stream).get_token()
        except ValueError:
            self.refuse(f"a quotation mark is not closed in {text!r}")
        return word or "", text[stream.tell() :].lstrip()

    def _converted(self, option: Option, value: str) -> Any:
        if option.choices and value not in option.choices:
            *others, last = option.choices
            self.refuse(f"--{option.name} must be {', '.join(others)} or {last}, not {value!r}")
        try:
            return value if option.convert is None else option.convert(value)
        except ValueError as error:
            raise UsageError(f"--{option.name}: {error}") from None

    def _known(self, flag: str) -> Option:
        option = self.options.get(flag)
        if option is None:
            close = difflib.get_close_matches(flag, self.options, n=1)
            hint = f"did you mean {close[0]}?" if close else "put -- before code that begins with a dash"
            self.refuse(f"unknown option {flag!r}; {hint}")
        return option

    def refuse(self, message: str) -> NoReturn:
        """Raise the UsageError that says `message`, and where help is."""
        raise UsageError(f"{message} ({self.magic} -h shows the options)")


def _lexer(stream: io.StringIO) -> shlex.shlex:
    lexer = shlex.shlex(stream, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return lexer


def _formatter(prog: str) -> argparse.HelpFormatter:
    # A fixed width: the help is also a docstring, which does not depend on some terminal.
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=100)
