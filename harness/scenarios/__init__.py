"""The shipped experiments: `./lab/run`, or `pytest --pyargs harness.scenarios --hil-lab emulated`.

Nothing here says what Linux should do; that is the contract's business (harness/contract).
"""
