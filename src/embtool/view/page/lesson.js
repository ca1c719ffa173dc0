// The lesson: a step is shown at a time, its cards one after the other, each revealed when a guess was made.

function startLesson({ steps, left_out }) {
  const kept = memory.read();
  kept.cards ??= {};
  const places = [];

  function remember(key, guess) {
    kept.cards[key] = guess;
    memory.write(kept);
  }

  function score() {
    const verdicts = steps.flatMap(step => step.cards.map((card, place) => [card, kept.cards[`${step.name}.${place}`]]))
      .filter(([, guess]) => guess !== undefined).map(([card, guess]) => judge(card, guess).right).filter(right => right !== null);
    find("score").textContent = verdicts.length
      ? `${verdicts.filter(Boolean).length} of ${verdicts.length} guesses right or close.` : "";
  }

  function show(number, focus) {
    steps.forEach((step, place) => {
      const here = place === number;
      places[place].article.classList.toggle("current", here);
      if (here) places[place].button.setAttribute("aria-current", "step");
      else places[place].button.removeAttribute("aria-current");
    });
    kept.step = number;
    memory.write(kept);
    if (focus) places[number].title.focus();
  }

  function refresh() {
    steps.forEach((step, place) => {
      const done = step.cards.every((_, card) => kept.cards[`${step.name}.${card}`] !== undefined);
      places[place].button.classList.toggle("done", done);
      places[place].mark.textContent = done ? ", done" : "";
      let open = true;
      places[place].cards.forEach((card, each) => {
        card.classList.toggle("later", !open);
        open &&= kept.cards[`${step.name}.${each}`] !== undefined;
      });
      places[place].next.classList.toggle("later", !open);
    });
    score();
  }

  steps.forEach((step, place) => {
    const mark = make("span", { className: "unseen" });
    const button = make("button", { type: "button", on: { click: () => show(place, true) } },
      make("span", { className: "number", "aria-hidden": "true" }, String(step.number)),
      make("span", { className: "title" }, step.title), mark);
    find("steps").append(make("li", {}, button));
    const title = make("h3", { tabindex: "-1" }, step.title);
    const cards = step.cards.map((card, each) => makeCard(card, `${step.name}.${each}`, {
      guess: kept.cards[`${step.name}.${each}`],
      reveal: guess => { remember(`${step.name}.${each}`, guess); refresh(); },
    }));
    const onward = place + 1 < steps.length
      ? make("button", { type: "button", className: "onward", on: { click: () => show(place + 1, true) } },
        `Next: ${steps[place + 1].title}`)
      : make("p", {}, "That was the last step. Below, the same model is yours to play with.");
    const next = make("div", { className: "next" }, make("p", { className: "hint" }, "The same step in a terminal:"), command(step.command), onward);
    const article = make("article", { className: "step" },
      make("p", { className: "where" }, `Step ${step.number}`), title, ...cards, next);
    find("cards").append(article);
    places.push({ article, button, title, mark, cards, next });
  });
  for (const step of left_out)
    find("steps").append(make("li", { className: "missing" }, `${step.number}  ${step.title}: ${step.why}`));
  find("forget").addEventListener("click", () => {
    memory.write({});
    location.reload();
  });
  refresh();
  show(Math.min(kept.step || 0, steps.length - 1), false);
}

function makeCard(card, key, { guess, reveal }) {
  const ask = make("h4", { id: `ask-${key}` }, card.ask);
  const verdict = make("p", { className: "verdict" });
  const remarks = make("div");
  const answer = make("div", { className: "answer", tabindex: "-1", role: "group", "aria-label": "Answer" }, verdict, remarks,
    checklist(card.ideas, key),
    make("p", { className: "label" }, card.kind === "open" ? "One way to say it" : "Answer"),
    make("p", { className: card.kind === "open" ? "said" : "result" }, card.shown),
    ...card.lines.map(line => make("p", {}, line)), picture(card.drawing), ...card.commands.map(command));
  const complaint = make("p", { className: "complaint", role: "alert", id: `complaint-${key}` });
  const form = make("form", { className: "guess" }, ...fields(card, key), complaint,
    make("div", { className: "line" }, make("button", { type: "submit" }, "Reveal")));
  const made = make("section", { className: "card", "aria-labelledby": ask.id },
    card.recall ? make("p", { className: "where" }, "Do you remember?") : null,
    ...card.told.map(text => make("p", {}, text)), ask, form, answer);

  function guessed() {
    const field = form.elements.namedItem("guess");
    return field === null ? "" : field.value;
  }

  function settle(text, focus) {
    const said = judge(card, text);
    verdict.textContent = said.text;
    remarks.replaceChildren(...said.lines.map(line => make("p", {}, line)));
    made.classList.add("revealed");
    made.classList.toggle("hit", said.right === true);
    made.classList.toggle("missed", said.right === false);
    form.querySelectorAll(".choice").forEach((choice, place) => {
      choice.classList.toggle("right-one", place === card.answer);
      choice.classList.toggle("wrong-one", said.right === false && String(place) === text);
    });
    for (const field of form.elements) if (field.tagName !== "FIELDSET") field.disabled = card.kind !== "open" || field.type === "submit";
    if (card.kind === "open") tick(answer, card.ideas, text);
    if (focus) answer.focus();
  }

  form.addEventListener("submit", event => {
    event.preventDefault();
    const text = guessed();
    if (text.trim() && !understood(card, text)) {
      complaint.textContent = card.kind === "cosine" ? "A number from -1 to 1, please." : "A number, please.";
      return;
    }
    complaint.textContent = "";
    settle(text, true);
    reveal(text);
  });
  if (card.kind === "open") form.addEventListener("input", () => {
    if (!made.classList.contains("revealed")) return;
    settle(guessed(), false);
    reveal(guessed());
  });
  if (guess !== undefined) {
    const field = form.elements.namedItem("guess");
    if (field !== null) field.value = guess;
    settle(guess, false);
  }
  return made;
}

/** What a guess is typed or chosen with. */
function fields(card, key) {
  if (card.kind === "choice") {
    const choices = card.choices.map((choice, place) => make("label", { className: "choice" },
      make("input", { type: "radio", name: "guess", value: String(place) }), make("span", {}, choice)));
    return [make("fieldset", {}, make("legend", { className: "unseen" }, card.ask), ...choices)];
  }
  const name = { name: "guess", autocomplete: "off", "aria-labelledby": `ask-${key}`, "aria-describedby": `complaint-${key}` };
  if (card.kind === "open") return [make("textarea", { ...name, rows: 4 })];
  const unit = card.kind === "cosine" ? "from -1 to 1" : card.unit;
  return [make("div", { className: "line" }, make("input", { ...name, type: "text", inputmode: "text", size: 12 }),
    make("span", { className: "unit" }, unit))];
}

/** The ideas that an explanation should name, to tick. */
function checklist(ideas, key) {
  if (!ideas.length) return null;
  return make("fieldset", { className: "ideas" }, make("legend", {}, "Does yours say it? Tick what its words do not show."),
    ...ideas.map((idea, place) => make("label", { className: "choice" },
      make("input", { type: "checkbox", id: `idea-${key}-${place}` }), make("span", {}, make("strong", {}, idea.name), `: ${idea.said}`))));
}

/** Tick what a text names by its words; a reader may tick more. */
function tick(answer, ideas, text) {
  const found = named(ideas, text);
  answer.querySelectorAll(".ideas input").forEach((box, place) => { if (found[place]) box.checked = true; });
}
