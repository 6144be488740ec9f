"""The words of a list's line: split at white space, with quotes, comments and places.

Leaves to :mod:`mirror.planning.lists.list_file` what the words mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirror.errors import ListError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of a list: ``file`` is its name for errors, ``line`` counts from 1."""

    file: str
    line: int

    def error(self, problem: str, column: int, expected: str | None = None) -> ListError:
        """Make the error that names this line and ``column`` (from 1)."""
        return ListError(problem, file=self.file, line=self.line, column=column, expected=expected)


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its quotes removed.

    ``columns`` has the place of each character, and of the end. ``quoted`` tells of each character
    whether it was quoted: a quoted ``=`` separates nothing.
    """

    text: str
    columns: tuple[int, ...]
    quoted: tuple[bool, ...]

    @property
    def column(self) -> int:
        """Where it begins."""
        return self.columns[0]

    @property
    def equals_sign(self) -> int:
        """The index of its first ``=`` outside quotes, or -1."""
        characters = zip(self.text, self.quoted, strict=True)
        return next((n for n, character in enumerate(characters) if character == ("=", False)), -1)

    def part(self, start: int, end: int | None = None) -> Word:
        """Take the characters from ``start`` to ``end``, with their places."""
        stop = len(self.text) if end is None else end
        return Word(self.text[start:stop], self.columns[start : stop + 1], self.quoted[start:stop])


def split_words(line: str, place: Place) -> list[Word]:
    """Split a line into words, up to a comment.

    Raises:
        ListError: a quote is not closed, or a character is no text.

    """
    words: list[Word] = []
    characters: list[tuple[str, int, bool]] = []
    begun, quote, quote_column = 0, "", 0
    # The space behind the line's end ends the last word.
    for column, character in enumerate(f"{line} ", start=1):
        if not character.isspace() and not character.isprintable():
            raise place.error(f"the character {character!r} cannot be in a list", column)
        if quote:
            if column > len(line):
                raise place.error(
                    "a quote is not closed", quote_column, f"another {quote} after it"
                )
            if character == quote:
                quote = ""
            else:
                characters.append((character, column, True))
        elif character.isspace():
            if begun:
                words.append(_word(characters, begun, column))
            characters, begun = [], 0
        elif character == "#" and not begun:
            break
        else:
            begun = begun or column
            if character in "\"'":
                quote, quote_column = character, column
            else:
                characters.append((character, column, False))
    return words


def _word(characters: list[tuple[str, int, bool]], begin: int, end: int) -> Word:
    columns = [*(column for _, column, _ in characters), end]
    # A word begins with its quote.
    columns[0] = begin
    return Word(
        "".join(character for character, _, _ in characters),
        tuple(columns),
        tuple(quoted for _, _, quoted in characters),
    )
