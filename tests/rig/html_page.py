"""A page of HTML, read as strictly as it can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass
class Element:
    """An element with what is in it, in order."""

    tag: str
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    content: list[Element | str] = field(default_factory=list)

    def all(self, tag: str, of_class: str | None = None) -> Iterator[Element]:
        """The elements of a kind below this one, in the order of the page."""
        for each in self.content:
            if isinstance(each, Element):
                classes = (each.attributes.get("class") or "").split()
                if each.tag == tag and (of_class is None or of_class in classes):
                    yield each
                yield from each.all(tag, of_class)

    def one(self, tag: str, of_class: str | None = None) -> Element:
        """The only one of a kind."""
        (found,) = self.all(tag, of_class)
        return found

    @property
    def text(self) -> str:
        """All text below it."""
        return "".join(each if isinstance(each, str) else each.text for each in self.content)


class Reader(HTMLParser):
    """Reads a page: what was opened is closed, in order; ``text`` is what a reader is shown."""

    VOID: ClassVar = {"meta", "link", "br", "input"}
    UNSEEN: ClassVar = {"style", "script"}
    # What may not be within a paragraph ends it, and a browser then sees another page.
    BLOCKS: ClassVar = {"p", "ul", "div", "pre", "table", "details", "h1", "h2", "h3", "footer"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("page")
        self.open: list[Element] = [self.root]
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        if tag in self.BLOCKS:
            assert "p" not in {each.tag for each in self.open}, tag
        self.tags.append((tag, dict(attrs)))
        element = Element(tag, dict(attrs))
        self.open[-1].content.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)
        if self.open[-1].tag not in self.UNSEEN:
            self.text += data + " "
