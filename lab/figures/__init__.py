"""Measurements beside a peer, in one run: `./lab/bench [NAME ...]`.

Each module measures one figure and returns rows; nothing here judges, and no test reads a stop watch.
"""
