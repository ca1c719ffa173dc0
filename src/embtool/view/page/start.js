// Put the parts together; one that the model cannot fill stays away.

find("model").textContent = page.model;
if (page.lesson.steps.length) {
  find("lesson").hidden = false;
  startLesson(page.lesson);
}
const lookUp = page.table ? startToken(page.table, page.first) : () => false;
if (page.shadow) startShadow(page.shadow, lookUp);
if (page.order) {
  find("order").hidden = false;
  const words = page.order.words;
  find("order-words").textContent = `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
  if (page.order.rows) startPlaces(page.order.rows);
  if (page.order.slopes) startSlopes(page.order.slopes);
  startTurning(page.order);
}
if (page.sentences) startSentences(page.sentences);
for (const part of document.querySelectorAll("main > .part:not([hidden])"))
  find("parts").append(make("li", {}, make("a", { href: `#${part.id}` }, part.querySelector("h2").textContent)));
find("made").append(`Made by embtool ${page.version} from ${page.model}. `, make("code", {}, page.info), " tells what the model is. This page asks nobody and sends nothing.");
find("left-out").append(...page.left_out.map(text => make("li", {}, text)));
