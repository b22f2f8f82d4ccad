// The stage plays a schedule. What it draws comes from the kernel as scenes, one per token; scenes
// are asked for while the stage can be seen, and ahead while it plays.

import {
  bytesOf,
  contextOf,
  cssVariable,
  element,
  perFrame,
  placeOn,
  tableToggle,
} from "./common.js";

const AHEAD = 4; // scenes asked for before they are due
const TELL = 120; // ms between two notes to the kernel of where playing has come to
const LATE = 50; // ms of lateness that playing makes good
const READ = 100; // ms that a sentence and a formula stay at least, while playing
const SPEEDS = [1, 2, 4, 8, 30]; // steps a second

function render({ model, el }) {
  el.classList.add("rv-panel", "rv-step-player");
  el.tabIndex = 0;
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "The mode at work. Space plays, arrow keys step.");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name">The mode at work</span><span class="rv-origin"></span>
      <span class="rv-group rv-step-heads" role="radiogroup" aria-label="Head"></span></div>
    <div class="rv-transport">
      <button type="button" data-do="first" aria-label="To the first step" title="To the first step (Home)">|◀</button>
      <button type="button" data-do="back" aria-label="Step back" title="Step back (←)">◀</button>
      <button type="button" data-do="play" class="rv-play" aria-label="Play" title="Play or pause (Space)">▶ Play</button>
      <button type="button" data-do="forward" aria-label="Step forward" title="Step forward (→)">▶</button>
      <button type="button" data-do="last" aria-label="To the last step" title="To the last step (End)">▶|</button>
      <input type="range" min="0" value="0" step="1" aria-label="Step">
      <output class="rv-step"></output>
      <label>speed <select aria-label="Speed, steps per second">${SPEEDS.map(
        (speed) =>
          `<option value="${speed}"${speed === 2 ? " selected" : ""}>${speed} per s</option>`,
      ).join("")}</select></label>
    </div>
    <div class="rv-saying"></div>
    <div class="rv-formula"></div>
    <div class="rv-scene">
      <figure class="rv-plane"><canvas role="img"></canvas><figcaption></figcaption></figure>
      <div class="rv-lines"></div>
    </div>
    <div class="rv-readout" role="status"></div>`;
  const find = (selector) => el.querySelector(selector);
  const [origin, heads, range, count, speed] = [
    ".rv-origin",
    ".rv-step-heads",
    "input",
    ".rv-step",
    "select",
  ].map(find);
  const [saying, formula, lines, readout] = [
    ".rv-saying",
    ".rv-formula",
    ".rv-lines",
    ".rv-readout",
  ].map(find);
  const planeCanvas = find(".rv-plane canvas");
  const planeCaption = find(".rv-plane figcaption");
  const playButton = find(".rv-play");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  let scenes = new Map(); // token -> { scene, bytes }
  let asked = new Set();
  let token = model.get("token");
  let playing = false;
  let due = 0;
  let told = 0;
  let visible = false;
  let worded = null; // the scene that the sentence and the formula are of
  let wordedAt = 0;
  let drawn = null; // what stands on the page: { token, scene, bytes }
  let light = { term: null, m: null }; // what is pointed at: a term, or a token that is read
  let plots = []; // the pictures on the page: { picture, box, canvas, mark }
  let barsCanvas = null;
  let shape = ""; // of the pictures: rebuilt only where it changes
  let lit = false; // whether anything is lit
  // Sizes and colours are looked up once and not at every step: each would lay the page out anew.
  let sizes = null;
  let colors = null;
  const scratch = element("canvas");
  const sizeOf = (canvas) => {
    sizes ??= new Map();
    if (!sizes.has(canvas)) sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
    return sizes.get(canvas);
  };
  // A text that is set anew is laid out anew, even where it says the same.
  const put = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };
  const colorOf = (name) => {
    colors ??= {};
    colors[name] ??= cssVariable(el, `--rv-${name}`);
    return colors[name];
  };

  const meta = () => model.get("meta");
  const stepOf = (n) => Math.floor(n / meta().stride);
  const steps = () => Math.ceil((meta().length || 0) / (meta().stride || 1));
  const lastOf = (step) => Math.min((step + 1) * meta().stride, meta().length) - 1;

  // -- scenes ---------------------------------------------------------------------------------

  function ask(n) {
    if (!visible || n < 0 || n >= (meta().length || 0) || scenes.has(n) || asked.has(n)) return;
    asked.add(n);
    model.send({ kind: "scene", version: model.get("version"), token: n });
  }

  function askAhead() {
    ask(token);
    if (!playing) return;
    const now = stepOf(token);
    for (let i = 1; i <= AHEAD && now + i < steps(); i++) ask(lastOf(now + i));
  }

  model.on("msg:custom", (message, buffers) => {
    if (message.version !== model.get("version")) return;
    if (message.kind === "scene") {
      const view = buffers[0];
      const bytes = new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
      asked.delete(message.token);
      scenes.set(message.token, { token: message.token, scene: message.scene, bytes });
      // A text's scenes are asked for again in a moment; keeping all of a long one would fill the page.
      while (scenes.size > 96) scenes.delete(scenes.keys().next().value);
      if (message.token === token) schedule();
    } else if (
      message.kind === "probe" &&
      message.token === drawn?.token &&
      String(message.at) === String(probing)
    ) {
      readout.textContent = message.text || resting();
    }
  });

  function forget() {
    scenes = new Map();
    asked = new Set();
    rest(model.get("token"));
    range.max = String(Math.max(0, steps() - 1));
    tables.refresh();
    schedule();
  }

  // -- moving ---------------------------------------------------------------------------------

  function tell(now) {
    if (model.get("token") === token) return;
    told = now;
    model.set({ token, told: model.get("version") });
    model.save_changes();
  }

  function goTo(n, mine = true) {
    if (!meta().length) return;
    token = Math.min(Math.max(n, 0), meta().length - 1);
    askAhead(); // before the kernel draws what else the selection changes
    const now = performance.now();
    if (mine && (!playing || now - told > TELL)) tell(now);
    schedule();
  }

  const toStep = (step) => goTo(lastOf(Math.min(Math.max(step, 0), steps() - 1)));

  const period = () =>
    1000 / (calm.matches ? Math.min(2, Number(speed.value)) : Number(speed.value));

  function tick(now) {
    if (!playing) return;
    requestAnimationFrame(tick);
    if (now < due || drawn?.token !== token) return;
    const next = stepOf(token) + 1;
    if (next >= steps()) return pause();
    if (!scenes.has(lastOf(next))) return askAhead(); // the kernel is behind: wait for it
    // On from when it was due, so that one late frame is not lost for good; no burst after a long wait.
    due = Math.max(due, now - LATE) + period();
    toStep(next);
    schedule.now(); // in this frame, so that no step is skipped
  }

  function play() {
    if (!meta().length) return;
    playing = true;
    if (stepOf(token) >= steps() - 1) toStep(0);
    due = performance.now() + period();
    showPlaying();
    askAhead();
    requestAnimationFrame(tick);
  }

  function pause() {
    playing = false;
    tell(performance.now());
    showPlaying();
  }

  // Stop where the kernel says, not where playing has come to.
  function rest(n) {
    token = n;
    if (playing) pause();
  }

  function showPlaying() {
    playButton.textContent = playing ? "❚❚ Pause" : "▶ Play";
    playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    el.dataset.playing = String(playing);
    saying.setAttribute("aria-live", playing ? "off" : "polite");
    model.set("playing", playing);
    model.save_changes();
    if (playing) return;
    tables.refresh();
    schedule(); // the words of the step where it rests
  }

  const actions = {
    first: () => toStep(0),
    back: () => toStep(stepOf(token) - 1),
    play: () => (playing ? pause() : play()),
    forward: () => toStep(stepOf(token) + 1),
    last: () => toStep(steps() - 1),
  };

  function act(name) {
    if (playing && name !== "play") pause();
    actions[name]();
  }

  // -- drawing --------------------------------------------------------------------------------

  function paint(canvas, bytes, at, height, width, signed) {
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const rgb = bytesOf(model, "colors");
    const table = signed ? 0 : 768;
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const from = table + 3 * bytes[at + i];
      image.data[4 * i] = rgb[from];
      image.data[4 * i + 1] = rgb[from + 1];
      image.data[4 * i + 2] = rgb[from + 2];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function buildLines(scene) {
    plots = [];
    lines.replaceChildren(
      ...scene.lines.map((line) => {
        const row = element("div", "rv-line");
        row.classList.toggle(
          "rv-flat",
          line.every((part) => typeof part === "string" || !part.rows),
        );
        for (const part of line) {
          if (typeof part === "string") {
            row.append(
              element("span", part.length > 5 ? "rv-operator rv-wide" : "rv-operator", part),
            );
            continue;
          }
          const box = element("figure", "rv-picture");
          box.dataset.term = part.term;
          const caption = element("figcaption");
          const frame = element("div", "rv-frame");
          const canvas = element("canvas");
          canvas.setAttribute("role", "img");
          const mark = element("div", "rv-mark");
          frame.append(canvas, mark);
          frame.classList.toggle("rv-flat", !part.rows); // a vector
          box.classList.toggle("rv-square", part.rows === "token n" && part.cols === "token m");
          caption.append(element("b"), element("span", "rv-norm"), element("span", "rv-size"));
          box.append(caption, frame);
          row.append(box);
          const plot = { picture: part, box, caption, canvas, mark };
          canvas.addEventListener("pointermove", (event) => pointAtEntry(plot, event));
          plots.push(plot);
        }
        return row;
      }),
    );
    barsCanvas = null;
    sizes = null;
    if (scene.bars) {
      const box = element("figure", "rv-picture rv-bars");
      box.dataset.term = scene.bars.term;
      barsCanvas = element("canvas");
      barsCanvas.setAttribute("role", "img");
      barsCanvas.addEventListener("pointermove", pointAtBar);
      box.append(element("figcaption"), barsCanvas);
      lines.append(box);
    }
  }

  function draw() {
    const { length = 0, mode = "", layer = 0 } = meta();
    const said = length ? `${mode}, layer ${layer}, head ${model.get("head")}` : "";
    put(origin, said);
    heads.hidden = !length;
    for (const [head, button] of heads.querySelectorAll("button").entries()) {
      button.setAttribute("aria-checked", String(head === model.get("head")));
    }
    range.disabled = !length;
    for (const button of el.querySelectorAll(".rv-transport button")) button.disabled = !length;
    if (!length) {
      saying.textContent = meta().whyNot ?? "";
      count.textContent = "";
      formula.replaceChildren();
      lines.replaceChildren();
      shape = "";
      drawn = worded = null;
      planeCanvas.width = planeCanvas.height = 1;
      planeCaption.textContent = readout.textContent = "";
      return;
    }
    const step = stepOf(token);
    range.value = String(step);
    range.setAttribute("aria-valuetext", `step ${step + 1} of ${steps()}`);
    put(count, `step ${(step + 1).toLocaleString()} of ${steps().toLocaleString()}`);
    const found = scenes.get(token);
    if (!found) return ask(token); // the scene before stays until this one comes
    const isNew = drawn !== found;
    drawn = found;
    if (isNew) drawScene(found);
    // Nobody reads 30 sentences a second. Once playing rests, they are those of the step.
    const now = performance.now();
    if (worded !== found && (!playing || now - wordedAt >= READ)) {
      worded = found;
      wordedAt = now;
      put(saying, found.scene.sentence);
      saying.title = found.scene.sentence;
      formula.innerHTML = found.scene.formula; // MathML that the kernel made of numbers and escaped text
      lit = true; // a new formula, in which nothing is lit yet
    }
    drawPlane();
    drawBars();
    drawLight();
    el.dataset.step = String(found.scene.step);
    el.dataset.token = String(found.token);
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  function drawScene({ scene, bytes }) {
    const found = scene.lines.map((line) => line.map((part) => part.term ?? "+")).join();
    if (shape !== `${found}|${scene.bars?.term}`) {
      buildLines(scene);
      shape = `${found}|${scene.bars?.term}`;
      lit = true; // new pictures, their marks not yet hidden
    }
    const parts = scene.lines.flat().filter((part) => typeof part !== "string");
    parts.forEach((picture, i) => {
      const plot = plots[i];
      plot.picture = picture;
      const [name, norm, size] = plot.caption.children;
      put(name, picture.label);
      put(norm, `‖·‖ ${picture.norm}`);
      put(size, `${axisOf(picture.rows, picture.height)}${axisOf(picture.cols, picture.width)}`);
      plot.box.title = picture.computed
        ? "computed by this mode"
        : "derived from what this mode computed";
      plot.box.dataset.computed = picture.computed ? "all" : "none";
      plot.canvas.setAttribute("aria-label", `${picture.label}, norm ${picture.norm}`);
      paint(plot.canvas, bytes, picture.at, picture.height, picture.width, picture.signed);
    });
    const operators = scene.lines.flat().filter((part) => typeof part === "string");
    for (const [i, sign] of lines.querySelectorAll(".rv-operator").entries()) {
      put(sign, operators[i]);
    }
    if (probing) askProbe();
    else put(readout, resting());
    tables.refresh();
  }

  const axisOf = (name, size) =>
    name
      ? `${size} ${name.startsWith("token") ? "tokens" : name}${name === "d_k" || name === "token n" || name === "token m" ? " ↓ " : ""}`
      : "";

  function resting() {
    if (!drawn) return "";
    const { scene } = drawn;
    const limits = Object.entries(scene.limits).map(([name, limit]) => `${name} ±${limit}`);
    return `${scene.cost}. Colours, ${meta().scale}: blue below 0, red above, to ${limits.join(", ").replace("decay ±", "decay ")}.`;
  }

  function drawPlane() {
    const { scene, bytes } = drawn;
    const { plane } = scene;
    const [width, height] = sizeOf(planeCanvas);
    const side = Math.min(width, height);
    if (side < 8) return;
    const context = contextOf(planeCanvas, width, height);
    const left = (width - side) / 2;
    context.translate(left, 0);
    const size = plane.last - plane.first;
    const cell = side / size;
    const at = (n) => (Math.min(Math.max(n, plane.first), plane.last) - plane.first) * cell;
    const [ink, line, accent] = ["ink", "line", "accent"].map(colorOf);
    // Only cells (n, m) with m <= n exist: a staircase.
    const stairs = new Path2D();
    stairs.moveTo(0, 0);
    for (let n = 0; n < size; n++) {
      stairs.lineTo((n + 1) * cell, n * cell);
      stairs.lineTo((n + 1) * cell, (n + 1) * cell);
    }
    stairs.lineTo(0, side);
    stairs.closePath();
    context.save();
    context.clip(stairs);
    context.fillStyle = line;
    for (const [n0, n1, m0, m1] of plane.done)
      context.fillRect(at(m0), at(n0), at(m1) - at(m0), at(n1) - at(n0));
    if (plane.lit && plane.cells) {
      const [n0, n1, m0, m1] = plane.lit;
      paint(scratch, bytes, plane.at, plane.cells[0], plane.cells[1], true);
      context.imageSmoothingEnabled = false;
      context.drawImage(scratch, at(m0), at(n0), at(m1) - at(m0), at(n1) - at(n0));
    }
    context.restore();
    context.lineWidth = 1;
    context.strokeStyle = line;
    context.setLineDash(plane.built ? [] : [3, 3]);
    context.stroke(stairs);
    context.setLineDash([]);
    if (plane.lit) {
      const [n0, n1, m0, m1] = plane.lit;
      context.lineWidth = 2;
      context.strokeStyle = ink;
      context.strokeRect(
        at(m0) + 1,
        at(n0) + 1,
        Math.max(2, at(m1) - at(m0) - 2),
        Math.max(2, at(n1) - at(n0) - 2),
      );
    }
    const row = at(plane.row);
    const thick = Math.max(cell, 3);
    context.lineWidth = 2;
    context.strokeStyle = accent;
    context.strokeRect(
      1,
      Math.min(row, side - thick) + 0.5,
      Math.max((plane.row - plane.first + 1) * cell - 1, 3),
      thick - 1,
    );
    if (light.m !== null && light.m >= plane.first && light.m <= plane.row) {
      context.fillStyle = accent;
      context.globalAlpha = 0.75;
      context.fillRect(at(light.m), row, Math.max(cell, 4), thick);
      context.globalAlpha = 1;
    }
    const window =
      size < meta().length
        ? `tokens ${plane.first} to ${plane.last - 1} of ${meta().length.toLocaleString()}`
        : `${size} × ${size} cells (n ↓, m →)`;
    const state = plane.built
      ? plane.done.length
        ? "colour: this step; grey: earlier; blank: never"
        : scene.steps > 1
          ? "colour: this step; blank: later or never"
          : "colour: all at once, in this step"
      : "blank: this mode builds no cells";
    put(planeCaption, `${window}. ${state[0].toUpperCase()}${state.slice(1)}.`);
    planeCanvas.setAttribute("aria-label", `The plane of cells: ${planeCaption.textContent}`);
  }

  function barsLayout() {
    const { bars } = drawn.scene;
    const [width, height] = sizeOf(barsCanvas);
    const labelled = bars.slots <= 40 && width / bars.slots >= 16;
    const foot = labelled ? Math.min(54, height * 0.45) : 16;
    return {
      bars,
      width,
      height,
      labelled,
      foot,
      left: 46,
      slot: (width - 46) / Math.max(bars.slots, 1),
    };
  }

  function drawBars() {
    if (!barsCanvas || !drawn.scene.bars || !sizeOf(barsCanvas)[0]) return;
    const { bars, width, height, labelled, foot, left, slot } = barsLayout();
    put(barsCanvas.parentElement.querySelector("figcaption"), bars.title);
    const context = contextOf(barsCanvas, width, height);
    const top = 4;
    const floor = height - foot;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colorOf("muted");
    context.textAlign = "right";
    context.textBaseline = "middle";
    const limit = bars.limit || 1;
    context.fillText(limit.toPrecision(2).replace(/\.?0+$/, ""), left - 6, top + 4);
    context.fillText("0", left - 6, floor);
    context.strokeStyle = colorOf("line");
    context.beginPath();
    context.moveTo(left, floor + 0.5);
    context.lineTo(width, floor + 0.5);
    context.stroke();
    const color = model.get("heads")[model.get("head")];
    const [accent, ink] = ["accent", "ink"].map(colorOf);
    bars.values.forEach((value, i) => {
      const m = bars.first + i;
      const tall = (value / limit) * (floor - top);
      context.fillStyle = m === light.m ? accent : color;
      context.fillRect(
        left + i * slot + 0.5,
        floor - tall,
        Math.max(1, slot - Math.min(2, slot / 4)),
        tall,
      );
      if (labelled) {
        context.save();
        context.translate(left + (i + 0.5) * slot, floor + 4);
        context.rotate(-Math.PI / 2);
        context.fillStyle = m === light.m || m === drawn.token ? accent : ink;
        context.font = `${Math.min(12, slot - 2)}px ui-monospace, "DejaVu Sans Mono", monospace`;
        context.textAlign = "right";
        context.fillText(bars.labels[i].slice(0, 7), 0, 0);
        context.restore();
      }
    });
    if (!labelled && bars.values.length) {
      context.fillStyle = colorOf("muted");
      context.textAlign = "center";
      const every = Math.max(1, Math.ceil(bars.slots / 8));
      for (let i = 0; i < bars.slots; i += every) {
        context.fillText(String(bars.first + i), left + (i + 0.5) * slot, floor + 9);
      }
    }
    barsCanvas.setAttribute("aria-label", `${bars.title}, ${bars.unit}`);
  }

  // -- pointing: a term lights its pictures, an entry its term --------------------------------

  let probing = null; // the place whose numbers the kernel was asked for

  function drawLight() {
    const lights = light.term !== null || light.m !== null;
    if (!lights && !lit) return;
    lit = lights;
    for (const node of el.querySelectorAll("[data-term]")) {
      const key = node.dataset.term;
      node.classList.toggle(
        "rv-lit",
        key === light.term || (light.m !== null && key === `m:${light.m}`),
      );
    }
    for (const { picture, mark } of plots) {
      const vertical = picture.cols === "token m";
      const index =
        light.m === null ? -1 : light.m - (vertical ? picture.colStart : picture.rowStart);
      const inside = vertical
        ? index >= 0 && index < picture.width
        : picture.rows === "token m" && index >= 0 && index < picture.height;
      mark.hidden = !inside;
      if (!inside) continue;
      const [count, start, length, other, span] = vertical
        ? [picture.width, "left", "width", "top", "height"]
        : [picture.height, "top", "height", "left", "width"];
      mark.style[start] = `${(100 * index) / count}%`;
      mark.style[length] = `${100 / count}%`;
      mark.style[other] = "0";
      mark.style[span] = "100%";
    }
  }

  function shine(term, m = null) {
    if (light.term === term && light.m === m) return;
    light = { term, m };
    if (!drawn) return;
    drawLight();
    drawPlane();
    drawBars();
  }

  function askProbe() {
    if (drawn)
      model.send({ kind: "probe", version: model.get("version"), token: drawn.token, at: probing });
  }

  function probe(at) {
    if (String(at) === String(probing)) return;
    probing = at;
    if (at) askProbe();
    else readout.textContent = resting();
  }

  function pointAtEntry({ picture, canvas }, event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.min(
      picture.height - 1,
      Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * picture.height)),
    );
    const column = Math.min(
      picture.width - 1,
      Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * picture.width)),
    );
    const m =
      picture.cols === "token m"
        ? picture.colStart + column
        : picture.rows === "token m"
          ? picture.rowStart + row
          : null;
    shine(picture.term, m);
    probe([picture.term, row, column]);
  }

  function pointAtBar(event) {
    const { bars, left, slot } = barsLayout();
    const i = Math.floor((placeOn(barsCanvas, event)[0] - left) / slot);
    if (i < 0 || i >= bars.values.length) return;
    shine(bars.term, bars.first + i);
    probing = null;
    readout.textContent = `token ${bars.first + i} “${bars.labels[i]}”: ${bars.values[i].toPrecision(4)} (${bars.unit})`;
  }

  planeCanvas.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const { plane } = drawn.scene;
    const [width, height] = sizeOf(planeCanvas);
    const side = Math.min(width, height);
    const cell = side / (plane.last - plane.first);
    const [x, y] = placeOn(planeCanvas, event);
    const m = plane.first + Math.floor((x - (width - side) / 2) / cell);
    const n = plane.first + Math.floor(y / cell);
    if (m < plane.first || n < plane.first || m >= plane.last || n >= plane.last) return;
    const inStep =
      plane.lit && n >= plane.lit[0] && n < plane.lit[1] && m >= plane.lit[2] && m < plane.lit[3];
    const term = !plane.lit ? (m === plane.row ? "added" : "faded") : inStep ? "weights" : "cross";
    shine(m > n ? null : term, n === plane.row || !plane.lit ? m : null);
    probe(["plane", n, m]);
  });
  planeCanvas.addEventListener("click", () => {
    if (probing?.[0] === "plane") goTo(probing[1]);
  });
  formula.addEventListener("pointermove", (event) => {
    const key = event.target.closest?.("[data-term]")?.dataset.term ?? null;
    if (key?.startsWith("m:")) shine(null, Number(key.slice(2)));
    else shine(key);
  });
  for (const part of [planeCanvas, formula, lines]) {
    part.addEventListener("pointerleave", () => {
      shine(null);
      probe(null);
    });
  }

  // -- controls -------------------------------------------------------------------------------

  model.get("heads").forEach((color, head) => {
    const button = element("button", "rv-head-choice", String(head));
    button.type = "button";
    button.style.setProperty("--rv-head", color);
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", `Head ${head}`);
    button.title = `Step through head ${head}`;
    button.addEventListener("click", () => {
      model.set("head", head);
      model.save_changes();
    });
    heads.append(button);
  });
  heads.prepend(element("span", "", "head"));
  find(".rv-transport").addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.do;
    if (name) act(name);
  });
  range.addEventListener("input", () => {
    if (playing) pause();
    toStep(Number(range.value));
  });
  el.addEventListener("keydown", (event) => {
    const on = event.target.tagName;
    if (
      on === "SELECT" ||
      (on === "INPUT" && event.key !== " ") ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey
    )
      return;
    if (event.target.closest(".rv-tables")) return;
    if (on === "BUTTON" && (event.key === " " || event.key === "Enter")) return; // it presses the button
    const keys = {
      ArrowLeft: "back",
      ArrowRight: "forward",
      Home: "first",
      End: "last",
      " ": "play",
    };
    if (event.key in keys) act(keys[event.key]);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      if (playing) pause();
      goTo(token + (event.key === "ArrowDown" ? 1 : -1));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const waiting = [];
  const tables = tableToggle(el, () => {
    if (!meta().length) return [];
    return new Promise((resolve) => {
      waiting.push(resolve);
      model.send({ kind: "tables", version: model.get("version"), token });
      setTimeout(() => resolve([]), 5000);
    });
  });
  model.on("msg:custom", (message) => {
    if (message.kind !== "tables") return;
    for (const resolve of waiting.splice(0)) resolve(message.tables);
  });

  const schedule = perFrame(draw);
  model.on("change:version", forget);
  model.on("change:head", schedule);
  model.on("change:token", () => {
    const n = model.get("token");
    if (n === token) return;
    rest(n); // chosen elsewhere: it stops there
    goTo(n, false);
  });
  const seen = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (!visible) return;
    askAhead();
    schedule();
  });
  seen.observe(el);
  const restyle = () => {
    sizes = colors = null;
    schedule();
  };
  const resized = new ResizeObserver(restyle);
  resized.observe(el);
  window.addEventListener("retnet-viz-theme", restyle);
  range.max = String(Math.max(0, steps() - 1));
  showPlaying();
  return () => {
    if (playing) pause();
    seen.disconnect();
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", restyle);
  };
}

export default { render };
