"""A history and its judgement as values that can be drawn: lanes, windows and marks on one axis.

:mod:`~harness.report.timeline.views` lays them out; :mod:`~harness.report.svg` and :mod:`~harness.report.ascii`
draw what is laid out and decide nothing, so that all pictures show the same.
"""
