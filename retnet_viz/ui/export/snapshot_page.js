// A page without a kernel: the explorer's own widgets over an exploration that was written down.
// It stands behind the widgets' modules (`Heatmap`, `Plot`, `StepPlayer`, `TokenStrip`) in one script.

import { element } from "../panels/common.js";

async function inflated(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// What a widget's module takes for its model: traits, and a kernel that `answer` stands in for.
function modelOf(traits, { saved = () => {}, answer = () => [] } = {}) {
  const listeners = [];
  const fire = (event, ...given) => {
    for (const [, heard] of listeners.filter(([name]) => name === event)) heard(...given);
  };
  const model = {
    get: (name) => traits[name],
    set(name, value) {
      const given = typeof name === "string" ? { [name]: value } : name;
      const changed = Object.keys(given).filter(
        (key) => String(traits[key]) !== String(given[key]) || typeof given[key] === "object",
      );
      for (const key of changed) traits[key] = given[key];
      for (const key of changed) fire(`change:${key}`);
      if (changed.length) fire("change");
    },
    save_changes: () => saved(traits),
    send(content) {
      queueMicrotask(() => {
        const [message, buffers] = answer(content, traits);
        if (message) fire("msg:custom", message, buffers);
      });
    },
    on(events, heard) {
      for (const event of events.split(" ")) listeners.push([event, heard]);
    },
    off(events, heard) {
      for (const event of events.split(" ")) {
        const at = listeners.findIndex(([name, other]) => name === event && other === heard);
        if (at >= 0) listeners.splice(at, 1);
      }
    },
  };
  return model;
}

async function show() {
  const buffer = await inflated("buffer");
  const page = JSON.parse(new TextDecoder().decode(await inflated("content")), (_, value) =>
    Array.isArray(value?.bytes)
      ? buffer.subarray(value.bytes[0], value.bytes[0] + value.bytes[1])
      : value,
  );
  globalThis.retnetVizPlotly = Promise.resolve(globalThis.Plotly);
  const { choices, tokens } = page;
  const length = tokens.length;
  const now = { ...page.selection, choice: 0 };
  const area = (name) => document.querySelector(`.rv-area-${name}, .rv-decay-${name}`);
  const view = () => page.views[now.layer][now.choice];

  // -- numbers of cells -----------------------------------------------------------------------

  const float32 = (bytes) => new Float32Array(bytes.slice().buffer); // the order is little-endian
  const numbers = page.numbers.map((layer) => ({
    scores: float32(layer.scores),
    weights: float32(layer.weights),
    decay: float32(layer.decay),
  }));
  const cells = (length * (length + 1)) / 2;
  const at = (head, n, m) => head * cells + (n * (n + 1)) / 2 + m;
  const weightOf = (head, n, m) => numbers[now.layer].weights[at(head, n, m)];
  const decayOf = (head, n, m) => numbers[now.layer].decay[head * length + n - m];
  const short = (value, digits) => String(Number(value.toPrecision(digits)));
  const raised = (n) => String(n).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  const filled = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  function cellText(plane, [head, n, m]) {
    const said = { head, n, m, reader: tokens[n], read: tokens[m] };
    if (m > n) return filled(page.sentences.later, said);
    said.power = raised(n - m);
    if (plane === "decay") {
      return filled(page.sentences.decay, { ...said, decay: short(decayOf(head, n, m), 4) });
    }
    return filled(page.sentences.weight, {
      ...said,
      score: short(numbers[now.layer].scores[at(head, n, m)], 3),
      decay: short(decayOf(head, n, m), 3),
      weight: short(weightOf(head, n, m), 3),
    });
  }

  function planeTable(plane) {
    const n = now.token;
    const heads = choices[now.choice];
    const value = plane === "decay" ? decayOf : weightOf;
    const { title, origin } = view().planes[plane].meta;
    return [
      `${title}: n = ${n} “${tokens[n]}”, layer ${now.layer}: ${origin}`,
      ["m", "token", ...heads.map((head) => `head ${head}`)],
      tokens
        .slice(0, n + 1)
        .map((token, m) => [m, token, ...heads.map((head) => short(value(head, n, m), 4))]),
    ];
  }

  // -- widgets --------------------------------------------------------------------------------

  const select = (token, cell = []) => {
    if (token === now.token && String(cell) === String(now.cell)) return;
    now.token = token;
    now.cell = cell;
    drawSelection();
  };

  function matrixOf(plane) {
    return modelOf(
      {
        cells: new Uint8Array(),
        colors: page.colors[plane === "decay" ? "magnitude" : "signed"],
        meta: {},
        selected: -1,
        cell: [],
        readout: "",
        tabular: true,
      },
      {
        saved: ({ selected, cell }) => select(cell.length ? cell[1] : selected, cell),
        answer: ({ question, ask, about }) => [
          ask === "tables"
            ? { answers: question, tables: [planeTable(plane)] }
            : { answers: question, text: cellText(plane, about) },
        ],
      },
    );
  }

  const planes = { decay: matrixOf("decay"), retention: matrixOf("retention") };
  const strip = modelOf(
    {
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
    },
    { saved: ({ selected }) => select(selected) },
  );
  const plot = (figure, saved) =>
    modelOf({ figure, clicked: -1, cursor: -1, stale: false }, { saved });
  const norms = plot({}, ({ clicked }) => clicked >= 0 && select(clicked));
  const next = plot(page.next[now.token]);
  const cost = plot(page.cost);
  const mode = { index: page.stageMode, version: 1 };
  const colors = new Uint8Array([...page.colors.signed, ...page.colors.magnitude]);
  const stage = modelOf(
    {
      version: mode.version,
      meta: {},
      token: now.token,
      told: null,
      head: page.stages[0].head,
      playing: false,
      colors,
      heads: page.headColors,
    },
    {
      saved: ({ token }) => select(token),
      answer({ kind, token, version }) {
        const found = page.stages[mode.index].scenes[token];
        if (!found) return [];
        if (kind === "tables") return [{ kind, version, token, tables: found.tables }];
        if (kind !== "scene") return []; // of the pictures the colours were kept, not the numbers
        const bytes = new Uint8Array(found.parts.reduce((sum, part) => sum + part.length, 0));
        let start = 0;
        for (const part of found.parts) {
          bytes.set(part, start);
          start += part.length;
        }
        return [{ kind, version, token, scene: found.scene }, [bytes]];
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
    for (const [name, plane] of Object.entries(planes)) {
      const pinned = now.cell.length && choices[now.choice].includes(now.cell[0]);
      const rests = name === "decay" ? view().decaySentence : sentence;
      plane.set({
        selected: now.token,
        cell: now.cell,
        readout: pinned ? cellText(name, now.cell) : rests,
      });
    }
    norms.set({ cursor: now.token, clicked: -1 });
    next.set({ figure: page.next[now.token] });
    stage.set({ token: now.token });
  }

  function drawView() {
    const { planes: drawn, norms: figure, note } = view();
    for (const [name, plane] of Object.entries(planes)) plane.set(drawn[name]);
    norms.set({ figure });
    strip.set({ note });
    drawSelection();
    area("gammas").innerHTML = page.gammas[now.layer]; // a table of numbers
    layer.value = now.layer;
    layer.nextElementSibling.textContent = now.layer;
  }

  function drawStage() {
    mode.version += 1;
    stage.set({ meta: page.stages[mode.index].meta, version: mode.version });
  }

  // -- controls -------------------------------------------------------------------------------

  // Buttons of which one is pressed; arrow keys go from one to the next, as in any radio group.
  function radios(label, names, chosen, choose) {
    const group = element("div", "rv-group");
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", label);
    group.append(element("span", "", label));
    const buttons = names.map((name, i) => {
      const button = element("button", "jupyter-button", name);
      button.type = "button";
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => press(i));
      return button;
    });
    const press = (i) => {
      buttons.forEach((button, j) => {
        button.classList.toggle("mod-active", i === j);
        button.setAttribute("aria-checked", String(i === j));
        button.tabIndex = i === j ? 0 : -1;
      });
      choose(i);
    };
    group.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
      if (!step) return;
      const to = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
      buttons[to].focus();
      press(to);
    });
    group.append(...buttons);
    press(chosen);
    return group;
  }

  const layer = element("input");
  Object.assign(layer, {
    type: "range",
    min: 0,
    max: page.views.length - 1,
    step: 1,
    value: now.layer,
  });
  layer.setAttribute("aria-label", "layer");
  layer.addEventListener("input", () => {
    now.layer = Number(layer.value);
    drawView();
  });

  document.querySelector(".rv-model").textContent = page.about;
  document.querySelector(".rv-recorded").textContent = page.text;
  document.querySelector(".rv-notice").textContent = page.said;
  const control = area("control");
  const layers = element("label", "rv-group", "layer ");
  layers.append(layer, element("output", "", String(now.layer)));
  control.append(
    layers,
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
  for (const [name, module, model] of [
    ["strip", TokenStrip, strip],
    ["next", Plot, next],
    ["matrix", Heatmap, planes.decay],
    ["weights", Heatmap, planes.retention],
    ["norms", Plot, norms],
    ["stage", StepPlayer, stage],
    ["cost", Plot, cost],
  ]) {
    module.render({ model, el: area(name) });
  }
  document.body.dataset.ready = "true";
}

show().catch((error) => {
  const said = document.querySelector(".rv-notice");
  said.textContent = `This page could not be shown: ${error.message}. It needs a browser of 2023 or later.`;
  said.setAttribute("role", "alert");
});
