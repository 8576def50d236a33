"""What this repository's own tests need at the root; users' tests, and the shipped scenarios, need nothing of this.

`./lab/run` loads this file too, without the packages that only tests use: import none of them here.
"""

pytest_plugins = ["pytester"]
