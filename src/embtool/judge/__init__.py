"""The judge of positions: does an engine turn its queries as the model says, and if not, which mistake does it make?

A trace is what an engine computed. The right rotation is held against it first, with a tolerance that follows from the
arithmetic (`trace`, `engine`): a right engine of that precision cannot fail. Where it fails, every known mistake is
made by an exact model of the engine, and those that reproduce the trace within the same tolerance explain it; then
every two mistakes at once.

The floors inside, lowest first:

    trace          what an engine computed, read from a file
    engine         what an engine computes: settings, and how it departs from them
    mistakes       the known mistakes, as changes of an engine
    verdict        which of them explain a trace
"""

from embtool.judge.engine import Engine
from embtool.judge.mistakes import MISTAKES, Scene
from embtool.judge.trace import Trace, parse_trace, trace_of
from embtool.judge.verdict import Hypothesis, Verdict, judge

__all__ = ["MISTAKES", "Engine", "Hypothesis", "Scene", "Trace", "Verdict", "judge", "parse_trace", "trace_of"]
