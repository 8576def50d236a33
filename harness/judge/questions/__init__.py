"""The questions that are asked of every history, one a file: ``(evidence, terms) -> tuple[Finding, ...]``.

Each says in its first line what it asks, and none builds on the answer of another.  What several of them need to see
lies in :mod:`~harness.judge.evidence`.
"""
