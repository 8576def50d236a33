"""Makes places to test in: packages, QEMU, kernel, root image, machine, template, clones.

:mod:`harness.lab.place` puts it all together; `run`, `test`, `bench` and `shell` beside this file are the commands.
Nothing here knows about pytest or judges anything.
"""
