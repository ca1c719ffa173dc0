// How a guess is held against an answer: as `embtool learn` does it (embtool/lesson/parts.py), which a test holds.

const EXACT = 1.02, CLOSE = 1.25, DOUBLE = 2, NEAR = 0.1, ENOUGH_IDEAS = 4;

/** Find the number in a guess, or null: 1,000 and 0,9 and 32k are understood. */
function numberIn(text) {
  const found = text.match(/([-+]?(?:\d[\d,_]*(?:\.\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)(k\b)?/);
  if (!found) return null;
  const digits = found[1].replaceAll("_", "");
  const thousands = /^[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$/.test(digits) || digits.split(",").length > 2;
  const value = Number(digits.replaceAll(",", thousands || digits.includes(".") ? "" : "."));
  return found[2] ? value * 1000 : value;
}

/** Write a number with as many digits as help. */
function figure(value) {
  if (Number.isInteger(value)) return count(value);
  return Math.abs(value) >= 100 ? grouped(value, 0) : String(Number(value.toPrecision(3)));
}

function understood(card, guess) {
  if (card.kind === "open") return true;
  if (card.kind === "choice") return /^\d+$/.test(guess);
  const number = numberIn(guess);
  return number !== null && (card.kind !== "cosine" || Math.abs(number) <= 1);
}

/** The ideas that a text names, by its words. */
const named = (ideas, text) => ideas.map(idea => new RegExp(idea.words, "i").test(text));

/** Say how a guess compares: whether it is right (null where that has no meaning), in words, and what to say to it. */
function judge(card, guess) {
  const blank = !guess.trim();
  if (card.kind === "open") {
    if (blank) return { right: null, text: "No guess.", lines: [] };
    const many = named(card.ideas, guess).filter(Boolean).length;
    return { right: many >= ENOUGH_IDEAS, text: `By its words yours names ${many} of ${card.ideas.length} ideas.`, lines: [] };
  }
  if (blank || typeof card.answer === "string" || !understood(card, guess))
    return { right: null, text: blank ? "No guess." : "Nothing to compare with.", lines: [] };
  if (card.kind === "choice") return judgeChoice(card, Number(guess));
  return { lines: [], ...JUDGES[card.kind](numberIn(guess), card.answer, card.slack) };
}

function judgeChoice(card, guess) {
  if (guess === card.answer) return { right: true, text: "Yes.", lines: [] };
  const remark = card.remarks[guess];
  return { right: false, text: "Not this one.", lines: remark ? [remark] : [] };
}

function judgeDifference(guess, answer) {
  const off = Math.abs(guess - answer);
  if (off <= NEAR) return { right: true, text: `Close: ${fixed(off, 2)} off.` };
  return { right: false, text: `${fixed(off, 2)} too ${guess > answer ? "high" : "low"}.` };
}

function judgeCount(guess, answer) {
  if (guess === answer) return { right: true, text: "Exactly." };
  return { right: false, text: `${figure(Math.abs(guess - answer))} too ${guess > answer ? "many" : "few"}.` };
}

function judgeTurns(guess, answer, slack) {
  if (Math.abs(guess - answer) <= slack) return { right: true, text: guess === answer ? "Exactly." : "Close." };
  if (answer <= slack && guess > slack) return { right: false, text: "Too high: it has hardly moved." };
  if (answer < 1 && guess >= 1) return { right: false, text: "Too high: it has not gone round once." };
  return judgeFactor(guess, answer, slack);
}

function judgeFactor(guess, answer, slack) {
  if (guess === answer) return { right: true, text: "Exactly." };
  if (Math.abs(guess - answer) <= slack) return { right: true, text: "Close." };
  if (!guess || !answer || guess < 0 !== answer < 0) return { right: false, text: "Far from it." };
  const factor = Math.max(guess / answer, answer / guess);
  if (factor <= CLOSE) return { right: true, text: factor <= EXACT ? "As good as exact." : "Close." };
  const way = Math.abs(guess) > Math.abs(answer) ? "high" : "low";
  if (factor < DOUBLE) return { right: false, text: `${fixed(100 * Math.abs(guess / answer - 1), 0)} % too ${way}.` };
  return { right: false, text: `Too ${way}, by a factor of ${figure(Number(fixed(factor, 1)))}.` };
}

const JUDGES = { number: judgeFactor, count: judgeCount, turns: judgeTurns, cosine: judgeDifference };
