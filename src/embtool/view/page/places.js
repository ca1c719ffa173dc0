// What is added for a position: the table as a picture, and how alike its rows are.

function startPlaces(rows) {
  const codes = unpack(rows.codes, Uint8Array), alike = unpack(rows.alike, Int16Array);
  const size = rows.places.length;
  const table = make("canvas", { className: "rows", role: "img", "aria-label": `The rows of ${size} positions, one below the other` });
  const square = make("canvas", { className: "square", role: "img", "aria-label": `The cosine of every two of ${size} positions` });
  drawn(() => paint(table, codes, rows.columns, size));
  drawn(() => paint(square, Uint8Array.from(alike, part => Math.round(127.5 + (Math.max(part, -10000) / 10000) * 127.5)), size, size));
  const [onTable, onSquare] = [mark(size), mark(size)];
  const said = make("p", { className: "result", role: "status" }), shown = make("div");
  const state = { a: Math.min(1, size - 1), b: Math.min(2, size - 1) };
  const fields = {};

  function slider(which, label) {
    const id = `place-${which}`;
    const range = make("input", { type: "range", id, min: 0, max: size - 1, step: 1, on: { input: () => { state[which] = range.valueAsNumber; update(); } } });
    fields[which] = range;
    return make("div", { className: "slider" }, make("label", { htmlFor: id }, label), make("div", { className: "line" }, range));
  }

  function update() {
    for (const which of ["a", "b"]) {
      fields[which].value = state[which];
      fields[which].setAttribute("aria-valuetext", `position ${count(rows.places[state[which]])}`);
    }
    onTable([state.a, state.b], []);
    onSquare([state.a], [state.b]);
    const [a, b] = [rows.places[state.a], rows.places[state.b]];
    const part = alike[state.a * size + state.b];
    said.textContent = `Positions ${count(a)} and ${count(b)}: ` + (part === -32768 ? "no cosine, a row is all zeros." : `cosine ${fixed(part / 10000)}.`);
    shown.replaceChildren(...(rows.tensor === null ? [] : [command(`embtool similarity id:${a + rows.offset} id:${b + rows.offset} --table position${page.options}`)]));
  }

  const every = size < rows.size ? `${size} of its ${count(rows.size)} positions, evenly spaced` : `all ${count(size)} positions`;
  find("order-rows").append(make("h3", {}, "What is added"),
    make("p", {}, rows.tensor === null ? "A pattern of sines and cosines, the same in every model of this kind, is added to each token's row."
      : `A second table, ${rows.tensor}, has a row for each position, and that row is added to the token's.`),
    make("div", { className: "pair" },
      make("figure", {}, make("div", { className: "marked" }, table, onTable.drawn), make("figcaption", {}, `Its rows, position ${count(rows.places[0])} at the top, ${count(rows.places.at(-1))} at the bottom: ${every}, ${rows.columns} of ${count(rows.width)} numbers each.`)),
      make("figure", {}, make("div", { className: "marked" }, square, onSquare.drawn), make("figcaption", {}, "How alike any two are, the one from top to bottom, the other from left to right: the nearer to the colour of the letters, the higher their cosine. The diagonal is each with itself."))),
    slider("a", "One position"), slider("b", "Another"), said, shown);
  update();
}

/** Lines across a picture of so many places: a function that puts them at some rows and columns. */
function mark(size) {
  const svg = draw("svg", { viewBox: `0 0 ${size} ${size}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const put = (rows, columns) => {
    svg.replaceChildren();
    for (const at of rows) draw("line", { x1: 0, x2: size, y1: at + 0.5, y2: at + 0.5 }, svg);
    for (const at of columns) draw("line", { y1: 0, y2: size, x1: at + 0.5, x2: at + 0.5 }, svg);
  };
  put.drawn = svg;
  return put;
}

function startSlopes(slopes) {
  const [width, height, far] = [480, 140, 64];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "decay", role: "img", "aria-label": `What ${slopes.length} heads take off a score, by distance` });
  const steepest = Math.max(...slopes) * far;
  for (const slope of slopes) draw("path", { class: "curve thin", d: `M0 0L${width} ${((slope * far) / steepest) * height}` }, svg);
  find("order-slopes").append(make("h3", {}, "What is taken off"), make("p", {},
    `Nothing is added and nothing turned. Each of the ${slopes.length} heads lowers its scores by its slope times the distance, from ${slopes[0]} to ${slopes.at(-1)} a token: the steep ones see only what is near.`),
  make("figure", {}, svg, ends("distance 0", String(far))), command(page.order.command));
}
