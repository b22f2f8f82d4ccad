// A page without a kernel: the explorer's own widgets over an exploration that was written down.
// It stands behind the widgets' modules (`Heatmap`, `Plot`, `StepPlayer`, `TokenStrip`) in one script.

/** @import { Cell, CellNumbers, Figure, HeatmapTraits, PlotTraits, RecordedPage, StepTraits, Table, TokenStripTraits } from "../types.js" */

import { buttonElement, child, element } from "../panels/common.js";
import { whyOf } from "../panels/request.js";
import { cellPlace, cellText, significant } from "./cell_text.js";
import { recordedModel } from "./recorded_model.js";

/** @param {string} id */
async function inflated(id) {
  const text = child(document, `#${id}`, HTMLElement).textContent ?? "";
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** @type {Record<string, number>} */
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * Buttons of which one is pressed; arrow keys go from one to the next, as in any radio group.
 * @param {string} label
 * @param {string[]} names
 * @param {number} chosen
 * @param {(i: number) => void} choose
 */
function radios(label, names, chosen, choose) {
  const group = element("div", "rv-group");
  group.setAttribute("role", "radiogroup");
  group.setAttribute("aria-label", label);
  group.append(element("span", "", label));
  const buttons = names.map((name, i) => {
    const button = buttonElement("jupyter-button", name);
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => press(i));
    return button;
  });
  /** @param {number} i */
  const press = (i) => {
    buttons.forEach((button, j) => {
      button.classList.toggle("mod-active", i === j);
      button.setAttribute("aria-checked", String(i === j));
      button.tabIndex = i === j ? 0 : -1;
    });
    choose(i);
  };
  group.addEventListener("keydown", ({ key }) => {
    const step = STEPS[key];
    if (!step) return;
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const to = (at + step + buttons.length) % buttons.length;
    buttons[to].focus();
    press(to);
  });
  group.append(...buttons);
  press(chosen);
  return group;
}

const PLANES = /** @type {const} */ (["decay", "retention"]);

async function show() {
  const buffer = await inflated("buffer");
  /** @type {RecordedPage} */
  const page = JSON.parse(new TextDecoder().decode(await inflated("content")), (_, value) =>
    Array.isArray(value?.bytes)
      ? buffer.subarray(value.bytes[0], value.bytes[0] + value.bytes[1])
      : value,
  );
  if (globalThis.Plotly) globalThis.retnetVizPlotly = Promise.resolve(globalThis.Plotly);
  const { choices, tokens } = page;
  const length = tokens.length;
  const now = { ...page.selection, choice: 0 };
  /** @param {string} name */
  const area = (name) => child(document, `.rv-area-${name}, .rv-decay-${name}`, HTMLElement);
  const view = () => page.views[now.layer][now.choice];

  // -- numbers of cells -----------------------------------------------------------------------

  /** @param {Uint8Array} bytes */
  const float32 = (bytes) => new Float32Array(bytes.slice().buffer); // the order is little-endian
  const layers = page.numbers.map(({ scores, weights, decay }) => ({
    scores: float32(scores),
    weights: float32(weights),
    decay: float32(decay),
  }));
  /** @type {CellNumbers} */
  const numbers = {
    score: (head, n, m) => layers[now.layer].scores[cellPlace(length, head, n, m)],
    weight: (head, n, m) => layers[now.layer].weights[cellPlace(length, head, n, m)],
    decay: (head, n, m) => layers[now.layer].decay[head * length + n - m],
  };
  /**
   * @param {string} plane
   * @param {number[]} cell
   */
  const said = (plane, cell) =>
    cellText(page.sentences, plane, /** @type {Cell} */ (cell), tokens, numbers);

  /**
   * @param {"decay" | "retention"} plane
   * @returns {Table}
   */
  function planeTable(plane) {
    const n = now.token;
    const heads = choices[now.choice];
    const value = plane === "decay" ? numbers.decay : numbers.weight;
    const { title, origin } = view().planes[plane].meta;
    return [
      `${title}: n = ${n} “${tokens[n]}”, layer ${now.layer}: ${origin}`,
      ["m", "token", ...heads.map((head) => `head ${head}`)],
      tokens
        .slice(0, n + 1)
        .map((token, m) => [m, token, ...heads.map((head) => significant(value(head, n, m), 4))]),
    ];
  }

  // -- widgets --------------------------------------------------------------------------------

  /**
   * @param {number} token
   * @param {number[]} cell
   */
  const select = (token, cell = []) => {
    if (token === now.token && String(cell) === String(now.cell)) return;
    now.token = token;
    now.cell = cell;
    drawSelection();
  };

  /** @param {"decay" | "retention"} plane */
  function matrixOf(plane) {
    return recordedModel(
      /** @type {HeatmapTraits} */ ({
        cells: new Uint8Array(),
        colors: page.colors[plane === "decay" ? "magnitude" : "signed"],
        meta: {},
        selected: -1,
        cell: [],
        readout: "",
        tabular: true,
      }),
      {
        saved: ({ selected, cell }) => select(cell.length ? cell[1] : selected, cell),
        answers: {
          tables: () => ({ tables: [planeTable(plane)] }),
          cell: (cell) => ({ text: said(plane, cell) }),
        },
      },
    );
  }

  const planes = { decay: matrixOf("decay"), retention: matrixOf("retention") };
  const strip = recordedModel(
    /** @type {TokenStripTraits} */ ({
      tokens,
      first: 0,
      length,
      shades: new Uint8Array(),
      weights: new Uint8Array(),
      colors: page.colors.signed,
      selected: now.token,
      title: "",
      note: "",
      empty: "",
    }),
    { saved: ({ selected }) => select(selected) },
  );
  /**
   * @param {Partial<Figure>} figure
   * @param {(traits: PlotTraits) => void} [saved]
   */
  const plot = (figure, saved) =>
    recordedModel(/** @type {PlotTraits} */ ({ figure, clicked: -1, cursor: -1, stale: false }), {
      saved,
    });
  const norms = plot({}, ({ clicked }) => {
    if (clicked >= 0) select(clicked);
  });
  const next = plot(page.next[now.token]);
  const cost = plot(page.cost);
  const mode = { index: page.stageMode, version: 1 };

  /** @param {{ token: number }} about */
  function sceneOf({ token }) {
    const found = page.stages[mode.index].scenes[token];
    if (!found) throw new Error("There is no such step.");
    return found;
  }

  const stage = recordedModel(
    /** @type {StepTraits} */ ({
      version: mode.version,
      meta: {},
      token: now.token,
      told: null,
      head: page.stages[0].head,
      playing: false,
      colors: new Uint8Array([...page.colors.signed, ...page.colors.magnitude]),
      heads: page.headColors,
    }),
    {
      saved: ({ token }) => select(token),
      answers: {
        scene(about) {
          const { scene, parts } = sceneOf(about);
          const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
          let start = 0;
          for (const part of parts) {
            bytes.set(part, start);
            start += part.length;
          }
          return [{ scene }, [bytes]];
        },
        tables: (about) => ({ tables: sceneOf(about).tables }),
        probe: () => ({ text: "" }), // of the pictures the colours were kept, not the numbers
      },
    },
  );

  // -- drawing --------------------------------------------------------------------------------

  function drawSelection() {
    const chosen = view().selections[now.token];
    const { weights, shades, sentence } = chosen;
    strip.set({
      shades,
      weights,
      selected: now.token,
      title: page.sentences.stripTitles[now.token],
    });
    for (const name of PLANES) {
      const pinned = now.cell.length && choices[now.choice].includes(now.cell[0]);
      const rests = name === "decay" ? view().decaySentence : sentence;
      planes[name].set({
        selected: now.token,
        cell: now.cell,
        readout: pinned ? said(name, now.cell) : rests,
      });
    }
    norms.set({ cursor: now.token, clicked: -1 });
    next.set({ figure: page.next[now.token] });
    stage.set({ token: now.token });
  }

  function drawView() {
    const { planes: drawn, norms: figure, note } = view();
    for (const name of PLANES) planes[name].set(drawn[name]);
    norms.set({ figure });
    strip.set({ note });
    drawSelection();
    area("gammas").innerHTML = page.gammas[now.layer]; // a table of numbers
    layer.value = layerText.textContent = String(now.layer);
  }

  function drawStage() {
    mode.version += 1;
    stage.set({ meta: page.stages[mode.index].meta, version: mode.version });
  }

  // -- controls -------------------------------------------------------------------------------

  const layer = element("input");
  Object.assign(layer, {
    type: "range",
    min: "0",
    max: String(page.views.length - 1),
    step: "1",
    value: String(now.layer),
  });
  const layerText = element("output", "", String(now.layer));
  layer.setAttribute("aria-label", "layer");
  layer.addEventListener("input", () => {
    now.layer = Number(layer.value);
    drawView();
  });

  for (const [place, text] of /** @type {const} */ ([
    [".rv-model", page.about],
    [".rv-recorded", page.text],
    [".rv-notice", page.said],
  ])) {
    child(document, place, HTMLElement).textContent = text;
  }
  const control = area("control");
  const layerBox = element("label", "rv-group", "layer ");
  layerBox.append(layer, layerText);
  control.append(
    layerBox,
    radios("heads", page.choiceNames, now.choice, (i) => {
      now.choice = i;
      drawView();
    }),
    radios(
      "mode at work",
      page.stages.map((each) => each.mode),
      mode.index,
      (i) => {
        mode.index = i;
        drawStage();
      },
    ),
  );
  area("agree").innerHTML = page.agreement;
  TokenStrip.render({ model: strip, el: area("strip") });
  Heatmap.render({ model: planes.decay, el: area("matrix") });
  Heatmap.render({ model: planes.retention, el: area("weights") });
  StepPlayer.render({ model: stage, el: area("stage") });
  Plot.render({ model: next, el: area("next") });
  Plot.render({ model: norms, el: area("norms") });
  Plot.render({ model: cost, el: area("cost") });
  document.body.dataset.ready = "true";
}

show().catch((error) => {
  const said = child(document, ".rv-notice", HTMLElement);
  said.textContent = `This page could not be shown: ${whyOf(error)}. It needs a browser of 2023 or later.`;
  said.setAttribute("role", "alert");
});
