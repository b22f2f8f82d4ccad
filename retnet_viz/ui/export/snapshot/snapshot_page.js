// A page without a kernel: the explorer's own widgets over a recorded exploration. In the page's
// script this file follows the widgets' modules (`Heatmap`, `Plot`, `StepPlayer`, `TokenStrip`).

/** @import { Cell, Figure, HeatmapTraits, PlotTraits, RecordedPage, StepTraits, Table, TokenStripTraits } from "../../types.js" */

import { buttonElement, child, element } from "../../panels/common.js";
import { errorMessage } from "../../panels/request.js";
import { cellNumbers, cellText, formatSignificant } from "./cell_text.js";
import { recordedModel } from "./recorded_model.js";

/** @param {string} id */
async function inflate(id) {
  const text = child(document, `#${id}`, HTMLElement).textContent ?? "";
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** @type {Record<string, number>} */
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * Buttons as a radio group; arrow keys go from one to the next.
 * @param {string} label
 * @param {string[]} names
 * @param {number} selected
 * @param {(i: number) => void} choose
 */
function radioGroup(label, names, selected, choose) {
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
  press(selected);
  return group;
}

const PLANES = /** @type {const} */ (["decay", "retention"]);

async function show() {
  const buffer = await inflate("buffer");
  /** @type {RecordedPage} */
  const page = JSON.parse(new TextDecoder().decode(await inflate("content")), (_, value) =>
    Array.isArray(value?.bytes)
      ? buffer.subarray(value.bytes[0], value.bytes[0] + value.bytes[1])
      : value,
  );
  if (globalThis.Plotly) globalThis.retnetVizPlotly = Promise.resolve(globalThis.Plotly);
  const { choices, tokens } = page;
  const length = tokens.length;
  const selection = { ...page.selection, choice: 0 };
  /** @param {string} name */
  const area = (name) => child(document, `.rv-area-${name}, .rv-decay-${name}`, HTMLElement);
  const view = () => page.views[selection.layer][selection.choice];

  // -- numbers of cells -----------------------------------------------------------------------

  /** @param {Uint8Array} bytes */
  const float32 = (bytes) => new Float32Array(bytes.slice().buffer); // the order is little-endian
  const layers = page.numbers.map(({ scores, weights, decay }) =>
    cellNumbers(length, {
      scores: float32(scores),
      weights: weights && float32(weights),
      decay: float32(decay),
    }),
  );
  const numbers = () => layers[selection.layer];
  /**
   * @param {string} plane
   * @param {number[]} cell
   */
  const sentenceOf = (plane, cell) =>
    cellText(page.sentences, plane, /** @type {Cell} */ (cell), tokens, numbers());

  /**
   * @param {"decay" | "retention"} plane
   * @returns {Table}
   */
  function planeTable(plane) {
    const n = selection.token;
    const heads = choices[selection.choice];
    const value = plane === "decay" ? numbers().decay : numbers().weight;
    const { title, origin } = view().planes[plane].meta;
    return [
      `${title}: n = ${n} “${tokens[n]}”, layer ${selection.layer}: ${origin}`,
      ["m", "token", ...heads.map((head) => `head ${head}`)],
      tokens
        .slice(0, n + 1)
        .map((token, m) => [
          m,
          token,
          ...heads.map((head) => formatSignificant(value(head, n, m), 4)),
        ]),
    ];
  }

  // -- widgets --------------------------------------------------------------------------------

  /**
   * @param {number} token
   * @param {number[]} cell
   */
  const select = (token, cell = []) => {
    if (token === selection.token && String(cell) === String(selection.cell)) return;
    selection.token = token;
    selection.cell = cell;
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
        onSave: ({ selected, cell }) => select(cell.length ? cell[1] : selected, cell),
        answers: {
          tables: () => ({ tables: [planeTable(plane)] }),
          cell: (cell) => ({ text: sentenceOf(plane, cell) }),
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
      selected: selection.token,
      title: "",
      note: "",
      empty: "",
    }),
    { onSave: ({ selected }) => select(selected) },
  );
  /**
   * @param {Partial<Figure>} figure
   * @param {(traits: PlotTraits) => void} [onSave]
   */
  const plot = (figure, onSave) =>
    recordedModel(/** @type {PlotTraits} */ ({ figure, clicked: -1, cursor: -1, stale: false }), {
      onSave,
    });
  const norms = plot({}, ({ clicked }) => {
    if (clicked >= 0) select(clicked);
  });
  const next = plot(page.next[selection.token]);
  const cost = plot(page.cost);
  const mode = { index: page.stageMode, version: 1 };

  /** @param {{ token: number }} about */
  function sceneOf({ token }) {
    const scene = page.stages[mode.index].scenes[token];
    if (!scene) throw new Error("There is no such step.");
    return scene;
  }

  const stage = recordedModel(
    /** @type {StepTraits} */ ({
      version: mode.version,
      meta: {},
      token: selection.token,
      told: null,
      head: page.stages[0].head,
      playing: false,
      colors: new Uint8Array([...page.colors.signed, ...page.colors.magnitude]),
      heads: page.headColors,
    }),
    {
      onSave: ({ token }) => select(token),
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
        probe: () => ({ text: "" }), // the page has the colours of the pictures, not their numbers
      },
    },
  );

  // -- drawing --------------------------------------------------------------------------------

  function drawSelection() {
    const { weights, shades, sentence } = view().selections[selection.token];
    strip.set({
      shades,
      weights,
      selected: selection.token,
      title: page.sentences.stripTitles[selection.token],
    });
    for (const name of PLANES) {
      const pinned = selection.cell.length && choices[selection.choice].includes(selection.cell[0]);
      const text = name === "decay" ? view().decaySentence : sentence;
      planes[name].set({
        selected: selection.token,
        cell: selection.cell,
        readout: pinned ? sentenceOf(name, selection.cell) : text,
      });
    }
    norms.set({ cursor: selection.token, clicked: -1 });
    next.set({ figure: page.next[selection.token] });
    stage.set({ token: selection.token });
  }

  function drawView() {
    const { planes: recordedPlanes, norms: figure, note } = view();
    for (const name of PLANES) planes[name].set(recordedPlanes[name]);
    norms.set({ figure });
    strip.set({ note });
    drawSelection();
    area("gammas").innerHTML = page.gammas[selection.layer]; // a table of numbers
    layer.value = layerText.textContent = String(selection.layer);
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
    value: String(selection.layer),
  });
  const layerText = element("output", "", String(selection.layer));
  layer.setAttribute("aria-label", "layer");
  layer.addEventListener("input", () => {
    selection.layer = Number(layer.value);
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
    radioGroup("heads", page.choiceNames, selection.choice, (i) => {
      selection.choice = i;
      drawView();
    }),
    radioGroup(
      "mode at work",
      page.stages.map(({ mode: name }) => name),
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
  const notice = child(document, ".rv-notice", HTMLElement);
  notice.textContent = `This page could not be shown: ${errorMessage(error)}. It needs a browser of 2023 or later.`;
  notice.setAttribute("role", "alert");
});
