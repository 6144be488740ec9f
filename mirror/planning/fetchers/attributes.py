"""What a derivation's author wrote: its environment, or its structured attributes.

With ``__structuredAttrs`` the environment holds one JSON document, ``__json``, instead of a
string for each attribute. Both read alike here: as text, as a truth value, as words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from mirror.errors import FormatError

if TYPE_CHECKING:
    from mirror.formats.derivation import Derivation


class Attributes:
    """A derivation's attributes by name; one that is absent reads as empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def of(cls, derivation: Derivation) -> Self:
        """The attributes of ``derivation``.

        Raises:
            FormatError: its ``__json`` is not a JSON object.

        """
        if "__json" not in derivation.environment:
            return cls(derivation.environment)
        try:
            values = json.loads(derivation.environment["__json"])
        except ValueError as error:
            raise FormatError(f"{derivation.path}: __json is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise FormatError(f"{derivation.path}: __json is not an object")
        environment = values.get("env")
        nested = environment if isinstance(environment, Mapping) else {}
        return cls({**derivation.environment, **nested, **values})

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str) -> str:
        """The value as a builder sees it in its environment: true is ``1``, false is empty."""
        return _text(self._values.get(name))

    def flag(self, name: str) -> bool:
        """Whether the value is set, as seen by a builder that tests it for emptiness."""
        return self.text(name) not in {"", "0"}

    def words(self, name: str) -> tuple[str, ...]:
        """The value as a list: of its elements, or of what white space separates."""
        return tuple(self.text(name).split())

    def lines(self, name: str) -> tuple[str, ...]:
        """The lines of the value, or of its elements, as they are; none if all of it is empty."""
        value = self._values.get(name)
        text = "\n".join(map(_text, value)) if isinstance(value, list) else _text(value)
        return tuple(text.split("\n")) if text else ()


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case None | False:
            return ""
        case True:
            return "1"
        case list():
            return " ".join(_text(element) for element in value)
        case _:
            return str(value)
