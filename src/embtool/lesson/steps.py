"""The steps of the lesson, in order: what each asks, and what is asked before it of those that came earlier.

Every number is measured on a model when its step is walked, by the functions that the ordinary commands use. Where a
sentence is a comparison and not a measurement, it says so. A wrong choice is one that somebody would make, and what is
said to it is said to them.
"""

from embtool.lesson.direction import direction
from embtool.lesson.order import order
from embtool.lesson.parts import Step, choice
from embtool.lesson.places import position
from embtool.lesson.rows import meaning, mechanism, training
from embtool.lesson.sizes import real_table
from embtool.lesson.teaching import teach

STEPS = (
    Step(1, "mechanism", "A token id is an address", "the width of a row", mechanism),
    Step(
        2,
        "meaning",
        "What the numbers say",
        "what is near what",
        meaning,
        choice(
            "What does a model do with a token id?",
            {
                "feeds it to the first layer as a number": "A higher id would then be more of something. It is not.",
                "reads one row of a table": "The id is an address; the numbers that count are in the row.",
                "spells out its letters": "The letters stay with the tokenizer; the model never sees them.",
            },
            "reads one row of a table",
        ),
    ),
    Step(
        3,
        "training",
        "Where the meaning comes from",
        "the length of an untrained row",
        training,
        choice(
            "Two rows have a cosine near 1. What has been measured?",
            {
                "that the two words mean the same": "That is a reading of it: opposites often have a high one too.",
                "that the two rows point the same way": "An angle. That it goes with use in the same company is the "
                "reading of it.",
                "that the two rows are equally long": "A cosine does not see lengths.",
            },
            "that the two rows point the same way",
        ),
    ),
    Step(
        4,
        "order",
        "What is missing",
        "what another order changes",
        order,
        choice(
            "Why do some rows have no sensible neighbours?",
            {
                "they are too short to have a direction": "A short row points somewhere as well as a long one.",
                "training hardly touched them": "Meaning comes from training; a row that was never read never got any.",
                "their ids are at the end of the table": "Ids are addresses: the last is as good as the first.",
            },
            "training hardly touched them",
        ),
    ),
    Step(
        5,
        "table",
        "A table, for real",
        "its size, and its tying",
        real_table,
        choice(
            "Look up the rows of a text and add them all up. What is lost?",
            {
                "the meaning of the words": "It is in the rows, and so in their sum: fastText reads texts that way.",
                "the order of the tokens": "A sum does not know who came first.",
                "nothing that a model could use": "“pod restarts node” and “node restarts pod” are then the same.",
            },
            "the order of the tokens",
        ),
    ),
    Step(
        6,
        "position",
        "Where a token stands",
        "added places, turned hands",
        position,
        choice(
            "What makes a table twice as large?",
            {
                "a context twice as long": "The same rows are read again: the length of a text is nowhere in it.",
                "twice as many layers": "The layers read what the table gave; it is not theirs.",
                "rows twice as wide": "Rows × width × bytes a number.",
            },
            "rows twice as wide",
        ),
    ),
    Step(
        7,
        "teach",
        "Teach it back",
        "nothing: you explain",
        teach,
        choice(
            "Query and key both move 1,000 positions on, under rotation. Their dot product …",
            {
                "shrinks, so far from the start": "There is no start in it: only the distance between them counts.",
                "stays": "Only the distance between them counts.",
                "changes with the new angles": "Both angles grew by the same: what is between them did not change.",
            },
            "stays",
        ),
    ),
    Step(
        8,
        "direction",
        "Make a direction",
        "what cats − cat points to",
        direction,
        choice(
            "A model of GPT-2's kind reads “dog bites dog”. Are the two inputs for “dog” the same?",
            {
                "yes: the same row is read for both": "The same row, and then another one is added for each place.",
                "no: a row for the place is added to each": "The row of the token is one, those of the places are two.",
                "no: the tokenizer gives them two ids": "A token has one id, wherever it stands.",
            },
            "no: a row for the place is added to each",
        ),
    ),
)
"""The lesson, in order."""
