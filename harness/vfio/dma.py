"""Memory of this process that functions can reach, whichever way they were opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness.bindings import vfio
from harness.closing import Closing


class DmaMapping(Closing):
    """Memory of this process at an I/O virtual address, until it is closed.

    The pages are pinned.  The buffer is held, so that whoever made it cannot give it back too early.
    """

    def __init__(
        self,
        memory: Any,
        iova: int,
        *,
        map_pages: Callable[[int, int, int], None],
        unmap_pages: Callable[[int, int], None],
    ) -> None:
        """Map a buffer.

        Args:
            memory: a writable buffer.
            iova: where functions see it, in bytes.
            map_pages: maps address, iova, size.
            unmap_pages: unmaps iova, size.
        """
        self.iova: Final = iova
        self._unmap_pages = unmap_pages
        self._view: memoryview | None = memoryview(memory)
        address, self.size = vfio.address_of(self._view)
        try:
            map_pages(address, iova, self.size)
        except BaseException:
            self._view.release()
            raise

    def close(self) -> None:
        """Unmap it; a second time does nothing.

        Raises:
            KernelRefusal: with the errno.
        """
        view, self._view = self._view, None
        if view is None:
            return
        try:
            self._unmap_pages(self.iova, self.size)
        finally:
            view.release()
