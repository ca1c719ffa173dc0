// The hands of RoPE: every pair of channels is a hand, and a position turns it so far.

const TURN = 2 * Math.PI;
const modulo = angle => ((angle % TURN) + TURN) % TURN;
const degrees = angle => `${fixed(Number(fixed((modulo(angle) * 180) / Math.PI, 1)) % 360, 1)}°`;

/** Write a number of turns as `embtool rope` does. */
function turns(value) {
  if (value > 0 && value < 1e-4) return "<0.0001";
  return value < 1e12 ? grouped(value, 4) : value.toExponential(2);
}

function startTurning(order) {
  const place = find("order-hands");
  const own = order.own;
  place.append(make("h3", {}, order.idle ? "The hands that its config describes" : own ? "The hands of this model" : "The hands of other models"),
    make("p", {}, order.idle ? "A model with these settings, and with layers, would turn so: in each head of attention, channels of a query and of a key go two "
      + "by two, and a position turns each pair like the hand of a clock; early pairs turn fast, late ones slowly. Drag a position and watch." : own
      ? "In each head of attention, channels of a query and of a key go two by two. Each pair is a point in a plane, and its "
        + "position turns it like the hand of a clock; early pairs turn fast, late ones slowly. Drag a position and watch."
      : "Most newer models turn instead of adding: in each head channels go two by two, and a position turns each pair like "
        + "the hand of a clock. These are the usual settings, a base of 10,000 and heads of 64 channels, and not those of this model."));
  order.layers.forEach((layer, number) => place.append(dials(layer, number, order)));
}

function dials(layer, number, order) {
  const options = order.own ? page.options : order.options;
  const last = layer.last;
  const state = { m: Math.min(7, last), n: Math.min(3, last) };
  const shown = layer.shown.map(pair => face(pair, layer));
  const dot = make("output", { className: "figure", "aria-live": "off" });
  const said = make("p", { className: "remark" });
  const curve = decay(layer, last);
  const commands = make("div");
  const table = make("tbody");
  const sliders = {};

  /** The frequencies in a sequence of this length. */
  const regime = length => layer.regimes.filter(each => each.from <= length).at(-1);

  function product(m, n) {
    const { speeds, factor } = regime(Math.max(m, n) + 1);
    let sum = layer.resting;
    for (const speed of speeds) {
      if (!speed) continue;
      const [a, b] = [m * speed, n * speed];
      const [ca, sa, cb, sb] = [Math.cos(a), layer.sense * Math.sin(a), Math.cos(b), layer.sense * Math.sin(b)];
      sum += factor * factor * ((ca - sa) * (cb - sb) + (ca + sa) * (cb + sb));
    }
    return sum;
  }

  function slider(which, label, hint) {
    const id = `turn-${number}-${which}`;
    const range = make("input", { type: "range", id, min: 0, max: last, step: 1, className: which });
    const field = make("input", { type: "number", min: 0, max: last, step: 1, "aria-label": `${label}, as a number`, className: which });
    const set = value => {
      if (!Number.isFinite(value)) return;
      state[which] = Math.min(Math.max(Math.round(value), 0), last);
      update();
    };
    range.addEventListener("input", () => set(range.valueAsNumber));
    field.addEventListener("change", () => set(field.valueAsNumber));
    sliders[which] = { range, field };
    return make("div", { className: `slider ${which}` }, make("label", { htmlFor: id }, make("span", { className: "hand" }), label),
      make("div", { className: "line" }, range, field), make("p", { className: "hint" }, hint));
  }

  const jumps = [1, 10, 100, 1000, 10000, 100000].filter(step => step <= last);
  const move = make("div", { className: "line wrap", role: "group", "aria-label": "Move both positions together" },
    make("span", {}, "Move both:"), ...[-1, 1, ...jumps.slice(1)].map(step => make("button", { type: "button", className: "quiet", on: { click: () => {
      const by = Math.min(Math.max(step, -Math.min(state.m, state.n)), last - Math.max(state.m, state.n));
      state.m += by;
      state.n += by;
      update();
    } } }, (step > 0 ? "+" : "−") + count(Math.abs(step)))));

  function update() {
    for (const which of ["m", "n"]) {
      sliders[which].range.value = state[which];
      sliders[which].range.setAttribute("aria-valuetext", `position ${count(state[which])}`);
      sliders[which].field.value = state[which];
    }
    const { speeds, waves } = regime(Math.max(state.m, state.n) + 1);
    shown.forEach(each => each.turn(speeds, state, waves));
    table.replaceChildren(...layer.shown.map(pair => make("tr", {}, make("th", { scope: "row", className: "right" }, String(pair)),
      ...[waves[pair], degrees(layer.sense * state.m * speeds[pair]), turns(state.m * speeds[pair] / TURN), degrees(layer.sense * state.n * speeds[pair])]
        .map(text => make("td", { className: "right" }, text)))));
    if (layer.dot) {
      dot.textContent = fixed(product(state.m, state.n), 9);
      said.textContent = `The query stands at ${count(state.m)}, the key at ${count(state.n)}, ${count(Math.abs(state.m - state.n))} apart; both are ones in all `
        + `${layer.head} channels. Move both: the number stays. It knows the distance, and not the place.`;
      curve.mark(Math.abs(state.m - state.n), product);
    }
    const length = layer.by_length ? ` --length ${Math.max(state.m, state.n) + 1}` : "";
    commands.replaceChildren(command(`embtool rope --pos ${state.m}${length}${options}`),
      ...(layer.dot ? [command(`embtool rope --relative ${state.m} ${state.n}${length}${options}`)] : []));
  }

  const block = make("div", { className: "layer" }, layer.name ? make("h4", {}, layer.name) : null,
    make("ul", { className: "facts" }, ...layer.lines.map(line => make("li", {}, line)),
      make("li", {}, `positions 0 to ${count(last)}`)),
    slider("m", "Position", "Arrow keys move by one, Page Up and Page Down by more."), slider("n", "A second position", "The thin, dashed hand."), move,
    make("div", { className: "dials", role: "group", "aria-label": "Hands of the pairs; the table below has their angles" }, ...shown.map(each => each.figure)),
    layer.dot ? make("div", { className: "dot-product" }, make("p", { className: "label" }, "Dot product of query and key"), dot, said, curve.figure) : null,
    commands,
    make("details", {}, make("summary", {}, "The hands as a table"), make("div", { className: "wide", tabindex: "0", role: "group", "aria-label": "The hands as a table" }, make("table", {},
      make("caption", { className: "unseen" }, "Angle of each hand"),
      make("thead", {}, make("tr", {}, ...["pair", "tokens per turn", "angle", "turns", "second angle"].map(title => make("th", { scope: "col", className: "right" }, title)))), table))));
  update();
  return block;
}

/** One dial with its two hands. */
function face(pair, layer) {
  const svg = draw("svg", { viewBox: "-50 -50 100 100", "aria-hidden": "true" });
  draw("circle", { r: 46, class: "rim" }, svg);
  for (let quarter = 0; quarter < 4; quarter++) {
    const [x, y] = [Math.cos(quarter * Math.PI / 2), Math.sin(quarter * Math.PI / 2)];
    draw("line", { x1: 40 * x, y1: 40 * y, x2: 46 * x, y2: 46 * y, class: "rim" }, svg);
  }
  const swept = draw("path", { class: "swept" }, svg);
  const second = draw("line", { class: "second" }, svg), first = draw("line", { class: "first" }, svg);
  draw("circle", { r: 3.5, class: "hub" }, svg);
  const wave = make("span", { className: "hint" }), angle = make("span", { className: "angle" });
  const figure = make("figure", { className: "dial" }, make("figcaption", {}, `pair ${pair}`), svg, angle, wave);
  const aim = (hand, turned, reach) => {
    const [x, y] = [reach * Math.cos(turned), -reach * Math.sin(turned)];
    hand.setAttribute("x2", x.toFixed(2));
    hand.setAttribute("y2", y.toFixed(2));
  };
  return { figure, turn(speeds, { m, n }, waves) {
    const [a, b] = [m, n].map(position => modulo(layer.sense * position * speeds[pair]));
    aim(first, a, 40);
    aim(second, b, 34);
    const [x, y] = [22 * Math.cos(a), -22 * Math.sin(a)];
    const [u, v] = [22 * Math.cos(b), -22 * Math.sin(b)];
    const between = modulo(a - b);
    swept.setAttribute("d", between ? `M0 0L${u.toFixed(2)} ${v.toFixed(2)}A22 22 0 ${between > Math.PI ? 1 : 0} 0 ${x.toFixed(2)} ${y.toFixed(2)}Z` : "");
    angle.textContent = degrees(layer.sense * m * speeds[pair]);
    wave.replaceChildren(waves[pair], make("br"), "tokens a turn");
  } };
}

/** The dot product at every distance, as a curve. */
function decay(layer, last) {
  const [width, height, most] = [480, 120, Math.min(last, 4096)];
  const svg = draw("svg", { viewBox: `0 -6 ${width} ${height + 12}`, class: "decay", role: "img", "aria-label": "The dot product by distance" });
  const line = draw("path", { class: "curve" }, svg), here = draw("circle", { r: 5, class: "here" }, svg);
  const across = distance => (Math.log1p(distance) / Math.log1p(most || 1)) * width;
  let range = null;
  const told = make("figcaption", {});
  return { figure: make("figure", {}, svg, ends("distance 0", count(most)), told),
    mark(distance, product) {
      if (!range) {
        const steps = [...new Set(Array.from({ length: 320 }, (_, step) => Math.round(Math.expm1((step / 319) * Math.log1p(most)))))];
        const values = steps.map(step => product(step, 0));
        range = [Math.min(...values), Math.max(...values)];
        told.textContent = `The same product at every distance, near ones drawn wider, between ${fixed(range[0], 1)} and ${fixed(range[1], 1)}: the farther apart, the less alike, in waves.`;
        const up = value => height - ((value - range[0]) / (range[1] - range[0] || 1)) * height;
        line.setAttribute("d", steps.map((step, at) => `${at ? "L" : "M"}${across(step).toFixed(1)} ${up(values[at]).toFixed(1)}`).join(""));
      }
      const value = Math.min(Math.max(product(Math.min(distance, most), 0), range[0]), range[1]);
      here.setAttribute("cx", across(Math.min(distance, most)).toFixed(1));
      here.setAttribute("cy", (height - ((value - range[0]) / (range[1] - range[0] || 1)) * height).toFixed(1));
    } };
}
