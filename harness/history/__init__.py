"""What happened: an immutable record of one stage, its columns, its windows and its container.

:mod:`~harness.history.history` is the record, :mod:`~harness.history.columns` the layout of its tables,
:mod:`~harness.history.windows` reads lock windows and resets out of the kernel's trace, and
:mod:`~harness.history.container` turns a history into bytes and back.  No file is opened here.
"""
