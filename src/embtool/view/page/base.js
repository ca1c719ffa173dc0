// What all parts of the page share. Every string of the model is put into the page as text, never as markup.

const page = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

const find = id => document.getElementById(id);

/** Make an element: attributes and properties by name, `on` for listeners, children as elements or texts. */
function make(tag, given = {}, ...children) {
  const { on = {}, ...rest } = given;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (value === null || value === undefined || value === false) continue;
    if (name in made && typeof made[name] !== "object") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, act] of Object.entries(on)) made.addEventListener(name, act);
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

function draw(tag, given = {}, parent = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
  if (parent) parent.append(made);
  return made;
}

/** Read numbers that stand in the page as base64 of little-endian bytes. */
function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

/** Write a whole number with commas between thousands. */
const count = value => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

/** Write a number with so many decimals, as the commands do: what lies halfway goes to the even digit. */
function fixed(value, decimals = 4) {
  const written = value.toFixed(decimals);
  const halves = value * 2 ** (decimals + 1);
  if (!Number.isInteger(halves) || Math.abs(halves) % 2 !== 1) return written;
  const last = Number(written.at(-1));
  return last % 2 === 0 ? written : (value - Math.sign(value) * 10 ** -decimals / 4).toFixed(decimals);
}

const grouped = (value, decimals) => {
  const [whole, part] = fixed(value, decimals).split(".");
  const sign = whole.startsWith("-") ? "-" : "";
  return sign + count(whole.replace("-", "")) + (part === undefined ? "" : "." + part);
};

/** A command line, with a button that copies it. */
function command(text) {
  const told = make("span", { className: "unseen", role: "status" });
  const button = make("button", { type: "button", className: "quiet", on: { click: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.firstChild.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.firstChild.textContent = "Selected";
    }
    told.textContent = button.firstChild.textContent;
    setTimeout(() => { button.firstChild.textContent = "Copy"; told.textContent = ""; }, 2000);
  } } }, "Copy", make("span", { className: "unseen" }, " " + text));
  const code = make("code", {}, text);
  return make("p", { className: "command" }, code, button, told);
}

/** Quote an argument of a command line where a shell would take it otherwise, as the commands do. */
const quoted = text => (/^[\w./:=@+,-]+$/.test(text) ? text
  : /^[^"$`!\\\x00-\x1f]+$/.test(text) ? `"${text}"` : `'${text.replaceAll("'", `'"'"'`)}'`);

/** What stands at the two ends of a drawing. */
const ends = (left, right) => make("p", { className: "ends" }, make("span", {}, left), make("span", {}, right));

/** What a theme says a colour is. */
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const themed = [];
/** Draw now, and again whenever the theme or the width changes. */
function drawn(act) {
  themed.push(act);
  act();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed.forEach(act => act()));
addEventListener("beforeprint", () => themed.forEach(act => act()));

function channels(name) {
  const probe = make("span", { className: "unseen" });
  document.body.append(probe);
  probe.style.color = colour(name);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
}

/** Paint numbers from 0 to 255 on a canvas, a pixel each, from the page's colour to that of its letters. */
function paint(canvas, shades, width, height) {
  canvas.width = width;
  canvas.height = height;
  const [low, high] = [channels("--sheet"), channels("--ink")];
  const picture = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    const share = shades[place] / 255;
    for (let part = 0; part < 3; part++) picture.data[4 * place + part] = low[part] + (high[part] - low[part]) * share;
    picture.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** A row of numbers as a bar code. */
function barcode(shades, label) {
  const canvas = make("canvas", { className: "barcode", role: "img", "aria-label": label });
  drawn(() => paint(canvas, shades, shades.length, 1));
  return canvas;
}

const memory = {
  key: `embtool view ${page.model}`,
  read() {
    try { return JSON.parse(localStorage.getItem(this.key)) || {}; } catch { return {}; }
  },
  write(kept) {
    try { localStorage.setItem(this.key, JSON.stringify(kept)); } catch { /* a browser that keeps nothing */ }
  },
};
