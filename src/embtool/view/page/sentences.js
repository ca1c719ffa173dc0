// Two sentences of the same words.

function startSentences(told) {
  find("sentences").hidden = false;
  const same = new Map(told.same.map(each => [each.id, each]));
  for (const [number, { text, tokens }] of told.texts.entries()) {
    const tiles = tokens.map(token => {
      const facts = [["row", count(token.id)], ["position", String(token.position)], ["its length", token.norm]];
      if (token.added !== null) facts.push(["of what is added", token.added], ["of the sum", token.sum], ["cosine of row and sum", token.cosine]);
      const turned = page.order && page.order.own ? hands(token.position) : null;
      return make("li", { className: "tile" }, make("p", { className: "name" }, token.name),
        barcode(unpack(token.bars, Uint8Array), `What is read for ${token.name} at position ${token.position}, as a bar code`),
        make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])), turned);
    });
    find("sentences-texts").append(make("h3", {}, `${number ? "B" : "A"}: “${text}”`), make("ol", { className: "tiles" }, ...tiles));
  }
  const equal = [...same.values()].filter(each => each.input).length;
  const words = `Rows: all ${told.same.length} are the same. What the first block reads: ${equal} of ${told.same.length} the same. `;
  const why = told.kind === "rope" ? "Nothing was added; the hands, turned by position inside attention, are what differs."
    : equal < told.same.length ? "What was added for the position tells them apart." : "";
  find("sentences-texts").append(make("p", { className: "result" }, words + why), ...told.remarks.map(text => make("p", { className: "remark" }, text)), command(told.command));
}

/** Some hands at a position, the fast ones first. */
function hands(position) {
  const layer = page.order.layers[0];
  const { speeds } = layer.regimes[0];
  const shown = layer.shown.slice(0, 4);
  const figure = draw("svg", { viewBox: `0 0 ${34 * shown.length} 34`, class: "hands", role: "img",
    "aria-label": `Hands of pairs ${shown.join(", ")} at position ${position}: ${shown.map(pair => degrees(layer.sense * position * speeds[pair])).join(", ")}` });
  shown.forEach((pair, at) => {
    const turned = layer.sense * position * speeds[pair];
    draw("circle", { cx: 34 * at + 17, cy: 17, r: 14, class: "rim" }, figure);
    draw("line", { x1: 34 * at + 17, y1: 17, x2: 34 * at + 17 + 12 * Math.cos(turned), y2: 17 - 12 * Math.sin(turned), class: "first" }, figure);
  });
  return figure;
}
