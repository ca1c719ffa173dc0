// What a card draws when it is revealed.

function picture(drawing) {
  if (!drawing) return null;
  if (drawing.kind === "beside") return make("div", { className: "pair" }, ...drawing.both.map(picture));
  return make("figure", { className: "drawing" }, DRAWINGS[drawing.kind](drawing));
}

/** Numbers with names, as bars on both sides of zero. */
function bars({ title, items }) {
  const most = Math.max(...items.map(([, value]) => Math.abs(value)), 1e-9);
  const least = Math.min(...items.map(([, value]) => value), 0);
  const zero = least < 0 ? (100 * -least) / (most - least) : 0;
  const scale = (100 - zero) / most;
  return make("table", { className: "bars" }, make("caption", {}, title), make("tbody", {}, ...items.map(([name, value]) => {
    const level = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    draw("rect", { x: value < 0 ? zero + value * scale : zero, y: 0, width: Math.max(Math.abs(value) * scale, 0.4), height: 10, class: value < 0 ? "less" : "more" }, level);
    draw("line", { x1: zero, x2: zero, y1: -1, y2: 11, class: "rim" }, level);
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", { className: "right" }, (value < 0 ? "" : "+") + fixed(value, 2)), make("td", { className: "level" }, level));
  })));
}

/** Figures in rows and columns: the first column names the rows. */
function grid({ title, head, rows }) {
  return make("div", { className: "wide", tabindex: "0", role: "group", "aria-label": title }, make("table", {}, make("caption", {}, title),
    make("thead", {}, make("tr", {}, ...head.map(name => (name ? make("th", { scope: "col", className: "right" }, name) : make("td"))))),
    make("tbody", {}, ...rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells.map(cell => make("td", { className: "right" }, cell)))))));
}

/** Hands of a clock: a row for each position, a column for each pair. */
function clocks({ title, positions, pairs, angles }) {
  return make("div", { className: "wide", tabindex: "0", role: "group", "aria-label": title }, make("table", { className: "clocks" }, make("caption", {}, title),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "position"), ...pairs.map(pair => make("th", { scope: "col" }, String(pair))))),
    make("tbody", {}, ...positions.map((position, row) => make("tr", {}, make("th", { scope: "row", className: "right" }, count(position)), ...angles[row].map(angle => {
      const degreesOf = `${Math.round((((angle * 180) / Math.PI) % 360 + 360) % 360)}°`;
      const dial = draw("svg", { viewBox: "-17 -17 34 34", role: "img", "aria-label": degreesOf });
      draw("circle", { r: 15, class: "rim" }, dial);
      draw("line", { x2: 12 * Math.cos(angle), y2: -12 * Math.sin(angle), class: "first" }, dial);
      return make("td", {}, dial);
    }))))));
}

/** Points on a plane, with their names. */
function plane({ title, caption, points }) {
  const [width, height] = [560, 300];
  const spread = values => [Math.min(...values), Math.max(...values)];
  const [left, right] = spread(points.map(point => point.x)), [low, high] = spread(points.map(point => point.y));
  const scale = Math.min((width - 170) / (right - left || 1), (height - 50) / (high - low || 1));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "plane", role: "img", "aria-label": `${title}: ${points.map(point => point.name).join(", ")}` });
  const taken = [];
  const free = box => !taken.some(other => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
  const at = points.map(point => [width / 2 + (point.x - (left + right) / 2) * scale, height / 2 - (point.y - (low + high) / 2) * scale]);
  at.forEach(([x, y]) => taken.push([x - 5, y - 5, x + 5, y + 5]));
  points.forEach((point, place) => {
    const [x, y] = at[place], wide = 8.2 * point.name.length + 4;
    const spots = [[x + 9, y - 8, "start"], [x - 9 - wide, y - 8, "end"], [x - wide / 2, y + 7, "middle"], [x - wide / 2, y - 23, "middle"]];
    const spot = spots.find(([l, t]) => free([l, t, l + wide, t + 16])) ?? spots[0];
    taken.push([spot[0], spot[1], spot[0] + wide, spot[1] + 16]);
    draw("circle", { cx: x, cy: y, r: 5, class: "group0" }, svg);
    const anchor = { start: spot[0], end: spot[0] + wide, middle: spot[0] + wide / 2 }[spot[2]];
    draw("text", { x: anchor, y: spot[1] + 12.5, "text-anchor": spot[2] }, svg).textContent = point.name;
  });
  return make("div", {}, svg, make("figcaption", {}, caption.charAt(0).toUpperCase() + caption.slice(1)));
}

const DRAWINGS = { bars, grid, hands: clocks, plane };
