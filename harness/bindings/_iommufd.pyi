"""The compiled module, as far as a type checker can know it; the typed face is iommufd.py."""

from typing import Any

ffi: Any
lib: Any
