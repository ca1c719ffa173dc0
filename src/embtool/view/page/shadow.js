// The map: drag, pinch or press to move and zoom; names stay apart.

const SHAPES = [
  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "M-4.5 -4.5h9v9h-9z", "M0 -5.8L5.6 4.4H-5.6z",
  "M0 -6.2L6.2 0L0 6.2L-6.2 0z", "M0 5.8L5.6 -4.4H-5.6z", "M-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
];

function startShadow(shadow, look) {
  find("shadow").hidden = false;
  find("shadow-kept").textContent = shadow.caption;
  const box = find("map"), svg = find("map-drawn");
  const [lines, dots, names] = ["g", "g", "g"].map(tag => draw(tag, {}, svg));
  const points = shadow.points.map(point => ({ ...point, kind: point.group % SHAPES.length }));
  for (const point of points) {
    if (point.parent !== null) point.line = draw("line", {}, lines);
    point.dot = draw("path", { d: SHAPES[point.kind], class: `dot group${point.kind}` }, dots);
    point.text = draw("text", { class: point.parent === null ? "" : "soft" }, names);
    point.text.textContent = point.name;
    point.dot.addEventListener("click", () => { if (!moved && point.id !== null) look(point.id); });
  }
  const xs = points.map(point => point.x), ys = points.map(point => point.y);
  const middle = values => (Math.max(...values) + Math.min(...values)) / 2;
  const spread = values => Math.max(...values) - Math.min(...values) || 1e-9;
  let zoom = 1, left = 0, top = 0, moved = false;

  const meets = (a, b) => a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3];

  function redraw() {
    const { width, height } = svg.getBoundingClientRect();
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`); // on paper it is scaled as a whole
    const scale = Math.min((0.8 * width) / spread(xs), (0.84 * height) / spread(ys)) * zoom;
    for (const point of points)
      point.at = [width / 2 + left + (point.x - middle(xs)) * scale, height / 2 + top - (point.y - middle(ys)) * scale];
    const taken = points.map(point => [point.at[0] - 6, point.at[1] - 6, 12, 12]);
    for (const point of points) {
      const [x, y] = point.at;
      point.dot.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})${point.parent === null ? "" : " scale(.7)"}`);
      if (point.line) {
        const from = points[point.parent].at;
        for (const [key, value] of Object.entries({ x1: from[0], y1: from[1], x2: x, y2: y })) point.line.setAttribute(key, value.toFixed(1));
      }
      point.text.style.display = "none";
      if (x < 0 || y < 0 || x > width || y > height) continue;
      point.width ??= measured(point.text);
      const w = point.width + 4, h = 15;
      const spots = [[x + 9, y - 8], [x - 9 - w, y - 8], [x - w / 2, y + 7], [x - w / 2, y - 8 - h]];
      const spot = spots.find(([l, t]) => l > 0 && l + w < width && !taken.some(other => meets([l, t, w, h], other)));
      if (!spot) continue;
      taken.push([...spot, w, h]);
      point.text.setAttribute("x", spot[0].toFixed(1));
      point.text.setAttribute("y", (spot[1] + 12).toFixed(1));
      point.text.style.display = "";
    }
    box.classList.toggle("zoomed", zoom > 1);
  }

  function measured(text) {
    text.style.display = "";
    const width = text.getComputedTextLength();
    text.style.display = "none";
    return width;
  }

  /** Zoom about a point of the picture, or about its middle. */
  function zoomBy(factor, x, y) {
    const { width, height } = svg.getBoundingClientRect();
    const [dx, dy] = [(x ?? width / 2) - width / 2, (y ?? height / 2) - height / 2];
    const grown = Math.min(Math.max(zoom * factor, 1), 60) / zoom;
    left = dx - (dx - left) * grown;
    top = dy - (dy - top) * grown;
    zoom *= grown;
    if (zoom === 1) [left, top] = [0, 0];
    redraw();
  }

  function all() {
    [zoom, left, top] = [1, 0, 0];
    redraw();
  }

  svg.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== box) return;
    event.preventDefault();
    const at = svg.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY * 0.003), event.clientX - at.left, event.clientY - at.top);
  }, { passive: false });

  const fingers = new Map();
  const apart = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  svg.addEventListener("pointerdown", event => {
    if (!fingers.size) moved = false;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  svg.addEventListener("pointermove", event => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? apart() : 0;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    if (fingers.size === 2) {
      const at = svg.getBoundingClientRect(), [a, b] = [...fingers.values()];
      zoomBy(apart() / (before || 1), (a[0] + b[0]) / 2 - at.left, (a[1] + b[1]) / 2 - at.top);
      moved = true;
    } else if (moved || Math.hypot(dx, dy) > 2) {
      if (!moved) svg.setPointerCapture(event.pointerId);
      moved = true;
      left += dx;
      top += dy;
      redraw();
    }
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
    svg.addEventListener(end, event => { fingers.delete(event.pointerId); });
  svg.addEventListener("dblclick", all);

  const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
  box.addEventListener("keydown", event => {
    if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) {
      left += moves[event.key][0];
      top += moves[event.key][1];
      redraw();
    } else if (event.key === "+" || event.key === "=") zoomBy(1.4);
    else if (event.key === "-") zoomBy(1 / 1.4);
    else if (event.key === "0") all();
    else return;
    event.preventDefault();
  });
  find("zoom-in").addEventListener("click", () => zoomBy(1.4));
  find("zoom-out").addEventListener("click", () => zoomBy(1 / 1.4));
  find("zoom-all").addEventListener("click", all);
  addEventListener("resize", redraw);

  shadow.groups.forEach((group, place) => {
    const sign = draw("svg", { viewBox: "-7 -7 14 14", class: "sign", "aria-hidden": "true" });
    draw("path", { d: SHAPES[place % SHAPES.length], class: `dot group${place % SHAPES.length}` }, sign);
    find("map-legend").append(make("li", {}, sign, group));
  });
  find("map-command").append(command(shadow.command));
  find("map-table").append(make("table", {}, make("caption", { className: "unseen" }, "Where each row falls"),
    make("thead", {}, make("tr", {}, ...["token", "id", "group", "x", "y"].map((title, column) => make("th", { scope: "col", className: column % 2 || column > 3 ? "right" : "" }, title)))),
    make("tbody", {}, ...points.map(point => make("tr", {},
      make("td", {}, point.id === null ? point.name : make("button", { type: "button", className: "name", on: { click: () => look(point.id) } }, point.name)),
      make("td", { className: "right" }, point.id === null ? "" : count(point.id)),
      make("td", {}, shadow.groups[point.group]),
      make("td", { className: "right" }, fixed(point.x)), make("td", { className: "right" }, fixed(point.y)))))));
  drawn(redraw);
}
