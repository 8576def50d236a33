"""The crash-safe record of a session: what was about to happen, what happened, what was judged.

The journal is the truth and every report a view of it: a runner that is killed leaves everything that is
needed for a complete, red report.

:mod:`~harness.journal.record` has the records and their JSON, :mod:`~harness.journal.writer` appends them,
:mod:`~harness.journal.reader` reads them back, and :mod:`~harness.journal.fold` makes one
:class:`~harness.journal.session.Session` of them, one entry a test.  Nothing here renders anything.
"""
