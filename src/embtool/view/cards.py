"""The lesson as cards: what is asked, and the answers as they were measured on the model."""

from embtool.errors import EmbtoolError
from embtool.lesson import STEPS, Question, Subject
from embtool.lesson.drawings import Bars, Beside, Drawing, Grid, Hands, Plane
from embtool.view.parts import Json, typed


def deal(subject: Subject) -> Json:
    """Measure the steps that the model can teach, and say why it cannot teach the others."""
    steps, left_out = [], []
    for step in STEPS:
        try:
            command = typed(subject.command("learn", str(step.number)))
            dealt = {"number": step.number, "name": step.name, "title": step.title, "command": command}
            questions = step.make(subject)
            recalled = [] if step.recall is None else [{**_card(step.recall), "recall": True}]
            steps.append({**dealt, "cards": [*recalled, *map(_card, questions)]})
        except EmbtoolError as error:
            left_out.append({"number": step.number, "title": step.title, "why": error.message})
    return {"steps": steps, "left_out": left_out}


def _card(question: Question) -> Json:
    outcome = question.find()
    return {
        "kind": question.kind.value,
        "told": list(question.told),
        "ask": question.ask,
        "choices": list(question.choices),
        "unit": question.unit,
        "slack": question.slack,
        "remarks": list(question.remarks),
        "ideas": [{"name": each.name, "said": each.said, "words": each.words.pattern} for each in question.ideas],
        "answer": outcome.answer,
        "shown": question.written(outcome),
        "lines": list(outcome.lines),
        "drawing": None if outcome.drawing is None else _drawing(outcome.drawing),
        "commands": [typed(command) for command in question.commands],
    }


def _drawing(drawing: Drawing) -> Json:
    """Write a drawing as the page draws it; two side by side are two of these."""
    match drawing:
        case Plane(picture):
            points = [{"name": each.name, "x": each.x, "y": each.y, "parent": each.parent} for each in picture.points]
            return {"kind": "plane", "title": picture.title, "caption": picture.caption, "points": points}
        case Hands():
            angles = [list(row) for row in drawing.angles]
            places = {"positions": list(drawing.positions), "pairs": list(drawing.pairs)}
            return {"kind": "hands", "title": drawing.title, **places, "angles": angles}
        case Bars():
            return {"kind": "bars", "title": drawing.title, "items": [list(item) for item in drawing.items]}
        case Grid():
            rows = [list(row) for row in drawing.rows]
            return {"kind": "grid", "title": drawing.title, "head": list(drawing.head), "rows": rows}
        case Beside(left, right):
            return {"kind": "beside", "both": [_drawing(left), _drawing(right)]}
