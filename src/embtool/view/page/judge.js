// How a guess is held against an answer: as `embtool learn` does it.

const EXACT = 1.02, CLOSE = 1.25, NEAR = 0.1;

/** Find the number in a guess, or null: 1,000 and 0,9 and 32k are understood. */
function numberIn(text) {
  const found = text.match(/([-+]?(?:\d[\d,_]*(?:\.\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)(k\b)?/);
  if (!found) return null;
  const digits = found[1].replaceAll("_", "");
  const groupedDigits = /^[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$/.test(digits) || digits.split(",").length > 2;
  const value = Number(digits.replaceAll(",", groupedDigits || digits.includes(".") ? "" : "."));
  return found[2] ? value * 1000 : value;
}

/** Write a number with as many digits as help. */
function figure(value) {
  if (Number.isInteger(value)) return count(value);
  if (Math.abs(value) >= 100) return grouped(value, 0);
  return String(Number(value.toPrecision(3)));
}

const understood = (card, guess) => {
  if (card.kind === "open") return true;
  if (card.kind === "choice") return guess !== "";
  const number = numberIn(guess);
  return number !== null && (card.kind !== "cosine" || Math.abs(number) <= 1);
};

/** Say how a guess compares: whether it is right (null where that has no meaning), and in words. */
function judge(card, guess) {
  if (card.kind === "open" || typeof card.answer === "string")
    return { right: null, text: guess.trim() ? "Compare yours with this one:" : "One way to say it:" };
  if (!guess.trim() || !understood(card, guess)) return { right: null, text: "No guess." };
  if (card.kind === "choice") {
    const right = Number(guess) === card.answer;
    return { right, text: right ? "Yes." : "Not this one." };
  }
  const number = numberIn(guess);
  if (card.kind === "cosine") {
    const off = Math.abs(number - card.answer);
    if (off <= NEAR) return { right: true, text: `Close: ${fixed(off, 2)} off.` };
    return { right: false, text: `${fixed(off, 2)} too ${number > card.answer ? "high" : "low"}.` };
  }
  if (number !== card.answer && Math.abs(number - card.answer) <= card.slack) return { right: true, text: "Close." };
  if (number === card.answer) return { right: true, text: "Exactly." };
  if (!number || !card.answer || number < 0 !== card.answer < 0) return { right: false, text: "Far from it." };
  const factor = Math.max(number / card.answer, card.answer / number);
  if (factor <= CLOSE) return { right: true, text: factor <= EXACT ? "As good as exact." : "Close." };
  const way = Math.abs(number) > Math.abs(card.answer) ? "high" : "low";
  return { right: false, text: `Too ${way}, by a factor of ${figure(Number(factor.toFixed(1)))}.` };
}
