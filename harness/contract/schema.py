"""Read one table of a contract file field by field, and refuse everything that is not understood.

A misspelt key that is silently ignored would be a promise that nobody keeps: what has not been read by the
time of :meth:`Entry.finish` is an error.  Every error names file, entry and field.
"""

from __future__ import annotations

import enum
from typing import Any, NoReturn, TypeVar

from harness.errors import ContractError, UsageError
from harness.model.plain import shown
from harness.model.units import Ns, duration

Word = TypeVar("Word", bound=enum.StrEnum)


class Entry:
    """One table of a contract file."""

    def __init__(self, file: str, name: str, table: Any) -> None:
        """Begin to read a table.

        Args:
            file: name of the contract file, for messages.
            name: what messages call this entry; may be made better once its fields are known.
            table: the value that TOML gave.
        """
        self.file, self.name = file, name
        if not isinstance(table, dict):
            self.refuse("", f"is a {type(table).__name__}, not a table")
        self._rest: dict[str, Any] = dict(table)

    def refuse(self, field: str, said: str, hint: str = "") -> NoReturn:
        """Raise the error that names file, entry and field.

        Raises:
            ContractError: always.
        """
        place = f"contract file {self.file}, {self.name}" + (f", field {shown(field)}" if field else "")
        raise ContractError(place, said=said, hint=hint)

    def has(self, field: str) -> bool:
        """Whether a field is there and has not been read yet."""
        return field in self._rest

    def text(self, field: str) -> str:
        """A text that must be there and must not be empty."""
        value = self._take(field)
        if not isinstance(value, str) or not value.strip():
            self.refuse(field, f"is {shown(value)}, not a text")
        return value

    def optional_text(self, field: str) -> str | None:
        """A text, or None when the field is absent."""
        return self.text(field) if self.has(field) else None

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of at least one text, without repetition."""
        value = self._take(field)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            self.refuse(field, f"is {shown(value)}, not a list of texts")
        if len(set(value)) != len(value):
            self.refuse(field, f"repeats itself: {shown(value)}")
        return tuple(value)

    def word(self, field: str, words: type[Word]) -> Word:
        """One of a fixed set of words."""
        value = self._take(field)
        if value not in list(words):
            self.refuse(field, f"is {shown(value)}", f"Choose one of: {', '.join(words)}.")
        return words(value)

    def optional_word(self, field: str, words: type[Word]) -> Word | None:
        """One of a fixed set of words, or None when the field is absent."""
        return self.word(field, words) if self.has(field) else None

    def words(self, field: str, words: type[Word]) -> tuple[Word, ...]:
        """A list of at least one of a fixed set of words."""
        texts = self.texts(field)
        for text in texts:
            if text not in list(words):
                self.refuse(field, f"holds {shown(text)}", f"Choose from: {', '.join(words)}.")
        return tuple(words(text) for text in texts)

    def word_or_words(self, field: str, words: type[Word]) -> tuple[Word, ...]:
        """One of a fixed set of words, or a list of some of them."""
        if isinstance(self._rest.get(field), list):
            return self.words(field, words)
        return (self.word(field, words),)

    def number(self, field: str, *, most: int, least: int = 0, default: int | None = None) -> int:
        """An integer between `least` and `most`; `default` stands in for an absent field."""
        value = self._take(field) if self.has(field) or default is None else default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(field, f"is {shown(value)}, not an integer from {least} to {most:#x}")
        return value

    def access_width(self, field: str) -> int:
        """The width of an access in bytes: 1, 2 or 4."""
        width = self.number(field, least=1, most=4)
        if width == 3:
            self.refuse(field, "is 3", "A width is 1, 2 or 4 bytes.")
        return width

    def optional_duration(self, field: str) -> Ns | None:
        """A duration such as `"100ms"`, or None when the field is absent."""
        if not self.has(field):
            return None
        try:
            return duration(self.text(field))
        except UsageError as error:
            self.refuse(field, str(error))

    def optional_table(self, field: str) -> Entry | None:
        """A table inside this one, or None when the field is absent."""
        return Entry(self.file, f"{self.name}, {field}", self._take(field)) if self.has(field) else None

    def finish(self) -> None:
        """Refuse what nobody asked for.

        Raises:
            ContractError: fields are left over.
        """
        for field in self._rest:
            self.refuse(field, "unknown", "docs/contract.md lists the fields.")

    def _take(self, field: str) -> Any:
        if field not in self._rest:
            self.refuse(field, "missing")
        return self._rest.pop(field)
