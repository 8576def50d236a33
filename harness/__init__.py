"""Stage collisions of config accesses, resets and driver locks on a PCI function, and judge what happened.

Data flows one way: a :class:`~harness.model.plan.Plan` is staged and gives a
:class:`~harness.history.history.History`, which is judged against the contract and gives findings, a verdict, and
then reports.  ARCHITECTURE.md is the map; :mod:`harness.scenarios` holds the shipped experiments, and a first one of
your own stands in README.md.
"""

__version__ = "0.1.0"
