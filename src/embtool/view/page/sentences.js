// Two sentences of the same words.

function startSentences(told) {
  find("sentences").hidden = false;
  const same = new Map(told.same.map(each => [each.id, each]));
  for (const [number, { text, tokens }] of told.texts.entries()) {
    const tiles = tokens.map(token => {
      const facts = [["row", count(token.id)], ["position", String(token.position)], ["length", token.norm]];
      if (token.added !== null) facts.push(["added", token.added], ["sum", token.sum], ["cosine", token.cosine]);
      facts.push([`in ${number ? "A" : "B"}`, same.get(token.id).input ? "the same" : "another"]);
      const turned = told.kind === "rope" && page.order ? hands(token.position) : null;
      return make("li", { className: "tile" }, make("p", { className: "name" }, token.name),
        barcode(unpack(token.bars, Uint8Array), `What is read for ${token.name} at position ${token.position}, as a bar code`),
        make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])), turned);
    });
    if (!number && tokens[0].added !== null)
      find("sentences-texts").append(make("p", { className: "remark" }, "Of each token: the lengths of its row, of what is added for the position, and of their sum; the cosine of row and sum; whether the other sentence has the same sum."));
    if (!number && told.why) find("sentences-texts").append(make("p", {}, told.why));
    find("sentences-texts").append(make("h3", {}, `${number ? "B" : "A"}: “${text}”`), make("ol", { className: "tiles" }, ...tiles));
  }
  const others = tokens => tokens.filter(token => !same.get(token.id).input).map(token => `${token.name} ${same.get(token.id).cosine}`).join(", ");
  const equal = [...same.values()].filter(each => each.input).length;
  const words = `Rows: all ${told.same.length} are the same. What the first block reads: ${equal} of ${told.same.length} the same. `;
  const why = told.kind === "rope" ? "Nothing was added; the hands, turned by position inside attention, are what differs."
    : equal < told.same.length ? `What was added for the position tells them apart; cosines of the two inputs: ${others(told.texts[0].tokens)}.` : "";
  find("sentences-texts").append(make("p", { className: "said" }, words + why), command(told.command));
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
  return make("figure", {}, figure, make("figcaption", {}, `hands of pairs ${shown.join(", ")}`));
}
