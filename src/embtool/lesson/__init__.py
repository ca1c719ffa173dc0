"""The lesson: from a token id to what a model reads, one guess at a time, measured on a model of the reader's own.

A step is data: what is told, what is asked, the commands that give the answer, and a function that measures it when the
reader has guessed, with a drawing where one helps. A step is told on the reader's model; where that lacks what the step
teaches, on one of the small models that come with embtool. The floors inside, lowest first:

    subject     the model under the lesson: its words, its rows, how they are typed; which other one stands in for it
    drawings    what a reveal may draw, as data, and as lines of a terminal
    parts       Question, Outcome, Step; a guess held against an answer
    rows, order, sizes, places, teaching, direction
                the questions of the steps
    steps       the steps, and what is asked before each
    progress    what the reader has done, kept in the user's state folder

To change the lesson, change `steps` and the modules below it. Nothing here prints or waits: `cli.learn` does.
"""

from embtool.lesson.parts import Outcome, Question, Step, Verdict, judge
from embtool.lesson.progress import Done, forget, progress_file, read_progress, save_progress
from embtool.lesson.steps import STEPS
from embtool.lesson.subject import Subject

__all__ = [
    "STEPS",
    "Done",
    "Outcome",
    "Question",
    "Step",
    "Subject",
    "Verdict",
    "forget",
    "judge",
    "progress_file",
    "read_progress",
    "save_progress",
]
