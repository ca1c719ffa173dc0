"""The page in a real browser: every card guessed and revealed, every control used, by keys and on a narrow screen.

Needs Chromium on this machine, and playwright with axe (`make oracles`); without them these tests skip. Nothing here
fetches a browser, and the page is opened from disk.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import END_OF_TEXT, config, float32, texts, tokenizer_json, write_single

import embtool
from embtool.lesson import STEPS, Outcome, Subject, judge
from embtool.lesson.parts import Kind, Question
from embtool.view import make_view

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MINILM = Path(__file__).parent.parent / ".models" / "minilm"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here to open the page with"),
]

GUESSES = (
    "",
    "0",
    "1",
    "128",
    "1,000",
    "0,9",
    "-0.5",
    "32k",
    "-3",
    "1e3",
    "0.05",
    "many",
    "7,",
    "100.4",
    "2",
    "1.5",
    "99999999",
)
EXPLAINED = "The id is an address; the row was learned in training; similar tokens are near; position is added."


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Any:
    """Make the page of a model, once."""
    made: dict[str, Path] = {}
    folder = tmp_path_factory.mktemp("pages")

    def make(name: str) -> Path:
        if name not in made:
            reference = {"gpt2": models / "gpt2", "small": models / "small", "config": models / "only-config"}
            if name == "minilm":
                if not MINILM.is_dir():
                    pytest.skip("no .models/minilm: make models")
                reference["minilm"] = MINILM
            model = embtool.open_model(reference.get(name, name))
            made[name] = folder / f"{name}.html"
            made[name].write_bytes(make_view(model, exact=30).content)
        return made[name]

    return make


@contextmanager
def opened(browser: Any, path: Path, width: int = 1100, **settings: Any) -> Iterator[Any]:
    """Open a page from disk, and hold that it asked nobody and complained of nothing."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    context.set_default_timeout(60_000)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.locator("#made:not(:empty)").wait_for()
    yield page
    assert set(asked) - {"data:,"} == {path.as_uri()}
    assert said == []
    context.close()


def cells_of(rows: Any) -> list[list[str]]:
    """Return the texts of a table's cells."""
    found: list[list[str]] = rows.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")
    return found


def forget(page: Any) -> None:
    """Forget all guesses, which loads the page anew."""
    with page.expect_navigation():
        page.locator("#forget").click()
    page.locator(".card:visible").wait_for()


def guess_all(page: Any, how: str = "anyhow") -> int:
    """Guess and reveal every card (`right`, `wrong`, `blank`, or anyhow), and return how many there were."""
    many = 0
    asked = page.evaluate(
        "JSON.parse(document.getElementById('data').textContent).lesson.steps.map(step => step.cards)"
    )
    for step in range(page.locator("#steps button").count()):
        page.locator("#steps button").nth(step).click()
        for card in asked[step]:
            form = page.locator(".step.current .card:not(.later):not(.revealed) form.guess").first
            if how == "blank":
                pass
            elif card["kind"] == "choice":
                wrong = (card["answer"] + 1) % len(card["choices"])
                place = {"right": card["answer"], "wrong": wrong}.get(how, 0)
                form.locator("input[type=radio]").nth(place).check()
            elif card["kind"] == "open":
                form.locator("textarea").fill("a banana" if how == "wrong" else EXPLAINED)
            else:
                right = 0 if isinstance(card["answer"], str) else card["answer"]
                right = min(right, 1) if card["kind"] == "cosine" else right
                wrong = -0.99 if card["kind"] == "cosine" else 10**13
                form.locator("input").fill({"right": f"{right}", "wrong": f"{wrong}"}.get(how, "0.5"))
            form.locator("button[type=submit]").click()
            many += 1
    return many


@pytest.mark.parametrize("name", ["mini", "gpt2", "minilm", "config"])
def test_every_card_is_guessed_and_revealed(browser: Any, page_of: Any, name: str) -> None:
    with opened(browser, page_of(name)) as page:
        cards = page.locator(".card").count()
        assert page.locator(".card:visible").count() == 1
        assert page.locator(".answer:visible").count() == 0
        assert guess_all(page) == cards
        assert page.locator("#steps .done").count() == page.locator("#steps button").count()
        assert "guesses right or close" in page.locator("#score").text_content()
        if page.locator("textarea").count():
            assert page.locator(".ideas input:checked").count() >= 4
        page.reload()
        assert page.locator(".card.revealed").count() == cards, "progress stays in the browser"
        forget(page)
        assert page.locator(".card.revealed").count() == 0


def test_a_guess_that_is_none_is_asked_for_again(browser: Any, page_of: Any) -> None:
    with opened(browser, page_of("mini")) as page:
        page.locator(".card:visible input").fill("no idea")
        page.keyboard.press("Enter")
        assert page.locator(".complaint:visible").text_content() == "A number, please."
        page.locator(".card:visible input").fill("128")
        page.keyboard.press("Enter")
        assert page.locator(".card.revealed .verdict").first.text_content() == "Exactly."
        assert page.evaluate("document.activeElement.className") == "answer"


def test_guesses_are_judged_as_in_the_terminal(browser: Any, page_of: Any) -> None:
    subject = Subject(embtool.open_model("mini"))
    asked = [question for step in STEPS[:2] for question in step.make(subject)]
    asked += [step.recall for step in STEPS if step.recall is not None]
    numbers = (0.0, 1.0, 3.0, 128.0, 0.301, 159.15, 2.54, -0.4, 100000.0)
    kinds = [(Kind.NUMBER, 0.0), (Kind.NUMBER, 0.02), (Kind.COSINE, 0.0), (Kind.COUNT, 0.0), (Kind.TURNS, 0.02)]
    for kind, slack in kinds:
        for answer in numbers:
            if kind is not Kind.COSINE or abs(answer) <= 1:
                asked.append(Question("?", lambda answer=answer: Outcome(answer), kind=kind, slack=slack))  # type: ignore[misc]
    cases, wanted = [], []
    for question in asked:
        outcome = question.find()
        card = SimpleNamespace(kind=question.kind.value, answer=outcome.answer, slack=question.slack).__dict__
        card |= {"choices": list(question.choices), "remarks": list(question.remarks), "ideas": []}
        choices = [str(place) for place in range(len(question.choices))]
        for guess in choices or GUESSES:
            typed = "abcdef"[int(guess)] if choices else guess
            verdict = judge(question, outcome, typed)
            cases.append([card, guess])
            wanted.append([verdict.right, verdict.text, list(verdict.lines)])
    source = "\n".join(
        files("embtool.view").joinpath("page", name).read_text("utf-8") for name in ("base.js", "judge.js")
    )
    with opened(browser, page_of("mini")) as page:
        found = page.evaluate(
            f"cases => {{ {source}\n return cases.map(([card, guess]) => judge(card, guess))"
            ".map(({right, text, lines}) => [right, text, lines]); }",
            cases,
        )
    assert len(found) > 400
    for case, ours, theirs in zip(cases, found, wanted, strict=True):
        assert ours == theirs, case


def test_a_token_is_looked_up(browser: Any, page_of: Any, run: Program) -> None:
    """Exactly where it is exact, and elsewhere as an estimate that says so, with the command that is exact."""
    with opened(browser, page_of("mini")) as page:
        page.locator("#token-text").fill("pod")
        page.locator("#token-chips button").first.wait_for()
        page.locator("#token-text").press("Enter")
        assert page.locator("#token-found h3").text_content() == "␣pod"
        command = page.locator("#token-found .command code").first.text_content()
        assert command == "embtool neighbors pod -m mini"
        found = run(*command.split()[1:], "--json").document["queries"][0]["neighbors"]
        cells = cells_of(page.locator("#token-found tbody tr"))
        assert [(int(row[2].replace(",", "")), row[3]) for row in cells] == [
            (each["id"], f"{each['score']:.4f}") for each in found
        ]
        assert "Exact" in page.locator("#token-found .remark").first.text_content()
        page.locator("#token-text").fill("id:20,000")
        page.locator("#token-form button").click()
        assert "Approximate" in page.locator("#token-found .rough").first.text_content()
        cells = cells_of(page.locator("#token-found tbody tr"))
        exact = {
            each["id"]: each["score"]
            for each in run("neighbors", "id:20000", "-m", "mini", "-k", "40", "--json").document["queries"][0][
                "neighbors"
            ]
        }
        for row in cells:
            assert row[3].startswith("≈")
            assert float(row[3].removeprefix("≈ ")) == pytest.approx(exact[int(row[2].replace(",", ""))], abs=0.02)
        page.locator("#token-other").fill("king")
        page.locator("#token-other").press("Enter")
        assert "cosine ≈" in page.locator(".compare .result").text_content()
        assert page.locator(".compare code").text_content().endswith(" king -m mini")
        page.locator("#token-text").fill("qqqqzz")
        page.locator("#token-text").press("Enter")
        assert "none of the" in page.locator("#token-found").text_content()
        assert "embtool neighbors qqqqzz -m mini" in page.locator("#token-found code").all_text_contents()


def test_the_slider_turns_the_hands(browser: Any, page_of: Any, run: Program) -> None:
    with opened(browser, page_of("mini")) as page:
        slider = page.locator("#turn-0-m")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert slider.input_value() == "8"
        page.locator("input[type=number].m").fill("1000")
        page.keyboard.press("Tab")
        rows = cells_of(page.locator("#order-hands table tbody tr"))
        shown = run("rope", "--pos", "1000", "-m", "mini", "-f", "table").text
        for pair, wave, angle, turns, _ in rows:
            assert any(
                line.split()[:1] == [pair] and line.split()[2:5] == [wave, turns, angle] for line in shown.splitlines()
            ), pair
        dot = page.locator(".dot-product output")
        page.locator("input[type=number].m").fill("7")
        page.keyboard.press("Tab")
        first = dot.text_content()
        for line in run("rope", "--relative", "7", "3", "-m", "mini", "-f", "table").text.splitlines():
            if line.split()[:1] == ["all"]:
                assert line.split()[-1] == first
        page.get_by_role("button", name="+1,000", exact=True).click()
        assert page.locator("input[type=number].m").input_value() == "1007"
        assert dot.text_content() == first
        page.locator("input[type=number].n").fill("5")
        page.keyboard.press("Tab")
        assert dot.text_content() != first


def test_positions_of_a_table_are_compared(browser: Any, page_of: Any, run: Program) -> None:
    with opened(browser, page_of("gpt2")) as page:
        page.locator("#place-a").focus()
        page.keyboard.press("Home")
        page.locator("#place-b").focus()
        page.keyboard.press("End")
        command = page.locator("#order-rows .command code").text_content()
        said = page.locator("#order-rows .result").text_content()
        ids = [word for word in command.split() if word.startswith("id:")]
        found = run("similarity", *ids, "-m", "gpt2/", "--table", "position", "--json").document["cosine"][0][1]
        assert said.endswith(f"cosine {found:.4f}." if found is not None else "a row is all zeros.")


def test_the_map_moves_by_keys_and_by_hand(browser: Any, page_of: Any) -> None:
    with opened(browser, page_of("mini")) as page:
        place = "() => [...document.querySelectorAll('#map .dot')].map(dot => dot.getAttribute('transform'))"
        page.locator("#map").focus()
        before = page.evaluate(place)
        for key in ("ArrowLeft", "+", "-", "ArrowUp"):
            page.keyboard.press(key)
        assert page.evaluate(place) != before
        page.keyboard.press("0")
        assert page.evaluate(place) == before
        page.locator("#zoom-in").click()
        box = page.locator("#map-drawn").bounding_box()
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 90, box["y"] + 80, steps=4)
        page.mouse.up()
        assert page.evaluate(place) != before
        page.locator("#zoom-all").click()
        assert page.evaluate(place) == before
        page.locator("#map .dot").last.click()
        assert page.locator("#token-found h3").text_content() == page.locator("#map text").last.text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["mini", "gpt2", "config"])
def test_everyone_can_use_it(browser: Any, page_of: Any, name: str, scheme: str) -> None:
    """A screen reader and a narrow screen have no complaint, whatever was guessed or looked up."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def hold(page: Any) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []

    def is_told(page: Any, states: set[str]) -> None:
        classes = page.evaluate("[...document.querySelectorAll('.card')].map(card => card.className.split(' ')).flat()")
        assert states <= set(classes)
        assert not ({"hit", "missed"} - states) & set(classes)

    with opened(browser, page_of(name), 360, color_scheme=scheme) as page:
        hold(page)
        page.locator(".card:visible input").first.fill("no idea")
        page.keyboard.press("Enter")
        hold(page)
        for how, states in (("right", {"hit"}), ("wrong", {"missed"}), ("blank", {"revealed"})):
            guess_all(page, how)
            is_told(page, states)
            page.evaluate("document.querySelectorAll('.step').forEach(step => step.classList.add('current'))")
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            hold(page)
            forget(page)
        if page.locator("#token:visible").count():
            page.locator("#token-text").fill("s")
            hold(page)
            page.locator("#token-text").fill("nothing of that name")
            page.keyboard.press("Enter")
            hold(page)


def test_the_keyboard_reaches_everything(browser: Any, page_of: Any) -> None:
    """Every control is reached by Tab, in the order of the page, and shows that it is."""
    with opened(browser, page_of("mini")) as page:
        wanted = page.evaluate(
            "[...document.querySelectorAll('a, button, input, summary, [tabindex=\"0\"]')]"
            ".filter(each => each.checkVisibility() && !each.disabled).length"
        )
        seen = set()
        for _ in range(wanted + 20):
            page.keyboard.press("Tab")
            seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
            assert page.evaluate(
                "document.activeElement === document.body"
                " || getComputedStyle(document.activeElement).outlineStyle !== 'none'"
            )
        assert len(seen) >= wanted


def test_it_prints_with_every_answer(browser: Any, page_of: Any) -> None:
    with opened(browser, page_of("mini")) as page:
        page.emulate_media(media="print")
        cards = page.locator(".card").count()
        assert page.locator(".card .answer:visible").count() == cards
        assert page.locator(".card button:visible").count() == 0


def test_hostile_names_stay_text(browser: Any, tmp_path: Path) -> None:
    """In the map, its table and legend, what is looked up, its neighbours, what is suggested, missed, and the title."""
    names = (
        "</script><script>document.title='x'</script>",
        "<img src=x onerror=\"document.title='x'\">",
        "{{script}}",
        "<!--<script>",
        "$(touch${IFS}x)`id`'\"",
    )
    tokenizer = tokenizer_json({END_OF_TEXT: True, **dict.fromkeys(names, False)})
    rows = len(texts()) + len(names)
    values = np.random.default_rng(0).standard_normal((rows, 8))
    values[-len(names) :] = values[-1] + 0.1 * values[-len(names) :]
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, float32(values))}
    folder = write_single(tmp_path / "model<b>$(x)", tensors, config=config(vocab_size=rows), tokenizer=tokenizer)
    path = tmp_path / "page.html"
    embtool.open_model(folder).view(path, [f"piece:{name}" for name in names])
    wanted = {name.replace(" ", "␣") for name in names}
    with opened(browser, path) as page:
        title = page.title()
        assert "<b>$(x): from a number" in title

        def is_text() -> None:
            assert page.title() == title
            assert page.locator("img, b, main script").count() == 0

        is_text()
        assert wanted <= set(page.locator("#map text").all_text_contents())
        assert wanted <= set(page.locator("#map-legend li").all_text_contents())
        assert wanted <= {row[0] for row in cells_of(page.locator("#map-table tbody tr"))}
        for name in names:
            page.locator("#token-text").fill(name)
            assert page.locator("#token-chips button").first.text_content() == name.replace(" ", "␣")
            page.locator("#token-text").press("Enter")
            assert page.locator("#token-found h3").text_content() == name.replace(" ", "␣")
            near = {row[1] for row in cells_of(page.locator("#token-found tbody tr"))}
            assert wanted - {name.replace(" ", "␣")} <= near
            for command in page.locator("#token-found .command code").all_text_contents():
                assert shlex.split(command)[1:] == [
                    "neighbors",
                    f"id:{rows - len(names) + names.index(name)}",
                    "-m",
                    str(folder),
                ]
            page.locator("#token-other").fill(names[0])
            page.locator("#token-other").press("Enter")
            page.locator("#token-text").fill(f"no such {name}")
            page.locator("#token-text").press("Enter")
            assert f"no such {name} is none of" in page.locator("#token-found").text_content()
            for command in page.locator("#token-found .command code").all_text_contents():
                assert shlex.split(command)[2:] == [f"no such {name}", "-m", str(folder)]
            is_text()
        guess_all(page)
        for command in page.locator(".command code").all_text_contents():
            assert shlex.split(command)[0] == "embtool"
        is_text()


@pytest.mark.skipif(not os.environ.get("EMBTOOL_TEST_REAL"), reason="EMBTOOL_TEST_REAL names no folder of real configs")
@pytest.mark.parametrize(
    "name", ["qwen3.6-27b-nvfp4", "gemma-3-27b-it", "phi-3-mini-128k", "bloom-3b", "t5-small", "qwen-7b"]
)
def test_real_settings_turn(browser: Any, tmp_path: Path, run: Program, name: str) -> None:
    """The page of a config alone: its hands at the end of its context are those of the command."""
    folder = Path(os.environ["EMBTOOL_TEST_REAL"]) / "configs" / name
    path = tmp_path / "page.html"
    embtool.open_model(folder).view(path)
    with opened(browser, path) as page:
        if page.locator("#order-slopes figure").count() or name == "t5-small":
            assert "The hands of other models" in page.locator("#order-hands").text_content()
            return
        for layer in range(page.locator(".layer").count()):
            block = page.locator(".layer").nth(layer)
            block.locator("input[type=range].m").focus()
            page.keyboard.press("End")
            command = block.locator(".command code").first.text_content()
            rows = cells_of(block.locator("table tbody tr"))
            found = run(*command.split()[1:-1], folder, "--json").document["layers"][layer]
            (turned,) = found["positions"]
            for pair, _, angle, _, _ in rows:
                exact = np.degrees(turned["angle"][int(pair)] % (2 * np.pi))
                assert abs((float(angle[:-1]) - exact + 180) % 360 - 180) < 0.051
