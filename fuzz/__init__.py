"""Broken, odd and hostile bytes for every reader of what somebody else wrote: see README.md."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))  # seeds are written by what writes the tests' small files
