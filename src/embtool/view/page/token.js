// Type a token: its row, its length among all, its neighbours; exact where they were computed, else said not to be.

function startToken(table, first) {
  const ids = unpack(table.ids, Uint32Array), norms = unpack(table.norms, Float64Array);
  const shorter = unpack(table.shorter, Uint8Array), words = unpack(table.words, Uint8Array);
  const near = unpack(table.neighbors, Uint32Array), scores = unpack(table.scores, Int16Array);
  const stored = unpack(table.codes, Uint8Array);
  const places = new Map(Array.from(ids, (id, place) => [id, place]));
  const isWord = place => (words[place >> 3] >> (place & 7)) & 1;
  const text = place => table.texts[place] ?? (table.named ? table.names[place].replaceAll("␣", " ") : "");
  const byText = new Map();
  for (let place = table.count - 1; place >= 0; place--)
    if (!byText.has(text(place)) || isWord(place) || !isWord(byText.get(text(place)))) byText.set(text(place), place);
  const name = id => (places.has(id) ? table.names[places.get(id)] : table.others[id] ?? `id:${id}`);

  find("token").hidden = false;
  find("token-intro").textContent = `This page carries ${count(table.count)} of the ${count(table.rows)} rows of `
    + `${table.tensor}, ${count(table.width)} numbers each. For ${count(table.exact)} tokens the nearest of all rows were computed `
    + "when the page was made; for the others it estimates, and says so.";

  /** A token as it is typed in a shell: a plain word is read as that word, everything else by its number. */
  const typed = place => (isWord(place) && /^[A-Za-z]+$/.test(text(place).trim()) ? text(place).trim() : `id:${ids[place]}`);

  /** The row that a text means: the word inside a sentence, else the text itself, or a number after `id:`. */
  function meant(said) {
    const number = said.trim().match(/^id:([\d,]+)$/);
    if (number) return places.get(Number(number[1].replaceAll(",", "")));
    if (!/\s/.test(said) && byText.has(" " + said)) return byText.get(" " + said);
    return byText.get(said) ?? byText.get(said.trim());
  }

  let numbers = null;
  /** Every carried row as whole numbers around 0, in a unit of its own; unpacked when first needed. */
  function rows() {
    if (numbers) return numbers;
    const each = 8 / table.bits, mask = (1 << table.bits) - 1, bytes = stored.length / table.drawn;
    numbers = new Int16Array(table.drawn * table.width);
    for (let row = 0; row < table.drawn; row++)
      for (let column = 0; column < table.width; column++) {
        const code = (stored[row * bytes + Math.floor(column / each)] >> (table.bits * (column % each))) & mask;
        numbers[row * table.width + column] = table.bits === 8 ? code - 128 : 2 * code - mask;
      }
    return numbers;
  }

  let lengths = null;
  function cosine(one, other) {
    const all = rows(), width = table.width;
    lengths ??= Float64Array.from({ length: table.drawn }, (_, row) => {
      let sum = 0;
      for (let column = row * width; column < (row + 1) * width; column++) sum += all[column] * all[column];
      return Math.sqrt(sum);
    });
    let sum = 0;
    for (let column = 0; column < width; column++) sum += all[one * width + column] * all[other * width + column];
    return sum / (lengths[one] * lengths[other]);
  }

  /** The nearest carried rows, by the few bits that the page has of each. */
  function estimated(place) {
    if (place >= table.drawn) return [];
    const found = [];
    for (let other = 0; other < table.drawn; other++) if (other !== place) found.push([cosine(place, other), other]);
    return found.filter(([score]) => Number.isFinite(score)).sort((a, b) => b[0] - a[0]).slice(0, table.nearest)
      .map(([score, other]) => ({ id: ids[other], score: fixed(score, 2), height: score }));
  }

  function exact(place) {
    const found = [];
    for (let at = place * table.nearest; at < (place + 1) * table.nearest; at++)
      if (scores[at] !== -32768) found.push({ id: near[at], score: fixed(scores[at] / 10000, 4), height: scores[at] / 10000 });
    return found;
  }

  const off = table.off === null ? "" : `; in 99 of 100 pairs it is less than ${fixed(table.off, table.off < 0.01 ? 4 : 2)} off`;
  const roughly = `Approximate: from ${table.bits} bits of each number, among the ${count(table.drawn)} rows that the page carries${off}.`;

  function bars(place) {
    if (place >= table.drawn)
      return make("p", { className: "remark" }, `This page carries the numbers of ${count(table.drawn)} rows only; this is not one of them.`);
    const row = rows().subarray(place * table.width, (place + 1) * table.width);
    const reach = row.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const shades = Uint8Array.from(row, value => Math.round(127.5 + (value / reach) * 127.5));
    return make("figure", {}, barcode(shades, `The ${table.width} numbers of the row of ${table.names[place]} as a bar code`),
      make("figcaption", {}, `Its ${count(table.width)} numbers: each stripe is one, from the lowest, in the colour of the page, to the highest, in that of the letters. `
        + `Rounded to ${table.bits} bits; every digit: `, make("code", {}, `embtool row ${quoted(typed(place))}${page.options} --json`)));
  }

  function among(place) {
    const { bars: heights, low, high, median, of } = table.lengths;
    const [width, height] = [480, 90];
    const figure = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img",
      "aria-label": `Lengths of all rows, from ${fixed(low)} to ${fixed(high)}; this one is ${fixed(norms[place])}` });
    const most = Math.max(...heights, 1), step = width / heights.length;
    heights.forEach((many, bar) => many && draw("rect", { x: bar * step + 0.5, width: step - 1,
      y: height - Math.max(1, (many / most) * (height - 8)), height: Math.max(1, (many / most) * (height - 8)), class: "bar" }, figure));
    const x = high > low ? Math.min(Math.max((norms[place] - low) / (high - low), 0), 1) * width : width / 2;
    draw("line", { x1: x, x2: x, y1: 0, y2: height, class: "here" }, figure);
    return make("figure", {}, figure, ends(`length ${fixed(low)}`, fixed(high)), make("figcaption", {},
      `Its length is ${fixed(norms[place])}: longer than ${shorter[place]} % of ${of} rows`
      + (median === null ? "." : `, whose median is ${fixed(median)}.`)));
  }

  function neighbors(place) {
    const isExact = place < table.exact;
    const found = isExact ? exact(place) : estimated(place);
    const said = isExact ? `Exact: the nearest of all ${count(table.rows)} rows by cosine.` : roughly;
    if (!found.length) return make("p", { className: "remark" }, "Nothing here can be ranked; the command can.");
    const low = Math.min(...found.map(each => each.height)), high = Math.max(...found.map(each => each.height));
    const body = found.map(({ id, score, height }, rank) => make("tr", {},
      make("td", { className: "right" }, String(rank + 1)),
      make("td", {}, places.has(id)
        ? make("button", { type: "button", className: "name", on: { click: () => look(places.get(id), true) } }, name(id))
        : make("span", { className: "name" }, name(id))),
      make("td", { className: "right" }, count(id)),
      make("td", { className: "right" }, (isExact ? "" : "≈ ") + score),
      make("td", { className: "level", "aria-hidden": "true" }, meter(high > low ? 0.15 + 0.85 * (height - low) / (high - low) : 1))));
    return make("div", {}, make("table", { className: "neighbors" }, make("caption", { className: "unseen" }, "Nearest rows"),
      make("thead", {}, make("tr", {}, ...["", "token", "id", "cosine"].map((title, column) =>
        make("th", { scope: "col", className: column === 1 ? "" : "right" }, title || make("span", { className: "unseen" }, "rank"))),
        make("td", { className: "level", "aria-hidden": "true" }, `${fixed(low, 2)} to ${fixed(high, 2)}`))),
      make("tbody", {}, ...body)), make("p", { className: isExact ? "remark" : "remark rough" },
        found.every(({ id }) => places.has(id)) ? said : `${said} A name that is not underlined is all that the page carries of its row.`),
      command(`embtool neighbors ${quoted(typed(place))}${page.options}`));
  }

  function compared(place) {
    const told = make("p", { className: "result", role: "status" });
    const exactly = make("div");
    const field = make("input", { type: "text", id: "token-other", autocomplete: "off", autocapitalize: "off", spellcheck: false });
    const form = make("form", { className: "ask", on: { submit: event => {
      event.preventDefault();
      const other = meant(field.value);
      exactly.replaceChildren();
      if (other === undefined || other >= table.drawn || place >= table.drawn) {
        told.textContent = field.value.trim() ? `This page does not carry ${field.value.trim()}.` : "";
        return;
      }
      const value = cosine(place, other);
      told.textContent = Number.isFinite(value) ? `cosine ≈ ${fixed(value, 2)}` : "no cosine: a row of zeros has no direction";
      exactly.append(make("p", { className: "remark rough" }, roughly),
        command(`embtool similarity ${quoted(typed(place))} ${quoted(typed(other))}${page.options}`));
    } } }, make("label", { htmlFor: "token-other" }, `How alike are ${table.names[place]} and …`),
    make("div", { className: "line" }, field, make("button", { type: "submit" }, "Compare")));
    return make("div", { className: "compare" }, form, told, exactly);
  }

  function look(place, focus) {
    const title = make("h3", { tabindex: "-1", className: "name" }, table.names[place]);
    find("token-found").replaceChildren(title, make("p", { className: "address" }, "Its id is ",
      make("strong", {}, count(ids[place])), `: row ${count(ids[place])} of ${count(table.rows)}.`),
    bars(place), among(place), make("h4", {}, "Nearest rows"), neighbors(place), compared(place));
    find("token-chips").replaceChildren();
    find("token-text").value = typed(place);
    if (focus) title.focus();
  }

  function miss(said) {
    const asked = quoted(said.trim());
    find("token-found").replaceChildren(
      make("p", { className: "remark" }, `${said.trim()} is none of the ${count(table.count)} tokens that this page carries: `
        + "it may be a rarer one, or several. The command knows them all:"),
      command(`embtool tokens ${asked}${page.options}`), command(`embtool neighbors ${asked}${page.options}`));
  }

  function suggest() {
    const said = find("token-text").value.trim().toLowerCase();
    const found = [];
    if (said && !said.startsWith("id:"))
      for (let place = 0; place < table.count && found.length < 8; place++)
        if (text(place).trim().toLowerCase().startsWith(said)) found.push(place);
    find("token-chips").replaceChildren(...found.map(place => make("li", {},
      make("button", { type: "button", className: "name", on: { click: () => look(place, true) } }, table.names[place]))));
  }

  find("token-text").addEventListener("input", suggest);
  find("token-form").addEventListener("submit", event => {
    event.preventDefault();
    const said = find("token-text").value;
    const place = meant(said);
    if (place !== undefined) look(place, false);
    else if (said.trim()) miss(said);
  });
  if (places.has(first)) look(places.get(first), false);

  return id => {
    if (!places.has(id)) return false;
    look(places.get(id), true);
    return true;
  };
}

function meter(share) {
  const figure = draw("svg", { viewBox: "0 0 100 8", class: "meter", preserveAspectRatio: "none" });
  draw("rect", { x: 0, y: 0, width: 100 * share, height: 8, rx: 1 }, figure);
  return figure;
}
