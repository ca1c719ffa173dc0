"""Run the command line as `python -m embtool`."""

import os
import sys

# Python looks for modules in the working folder first, which may be a model's: its numpy.py must not be imported.
if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - as Python writes it
    del sys.path[0]

from embtool.cli import main

if __name__ == "__main__":
    main()
