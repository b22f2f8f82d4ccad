// The tables that stand behind a drawing.

import assert from "node:assert/strict";
import { test } from "node:test";
import "./browser_classes.js";
import { namedTraces } from "../../retnet_viz/ui/panels/plots/legend.js";
import { layoutFor } from "../../retnet_viz/ui/panels/plots/plot.js";
import {
  captionWithOmissions,
  fitTitle,
  formatEntry,
  heatmapTable,
  namer,
  seriesTables,
} from "../../retnet_viz/ui/panels/plots/tables.js";

test("whole numbers stand as they are, others with four digits", () => {
  assert.deepEqual([3, 0.123456, 123456.7, "a token", null].map(formatEntry), [
    "3",
    "0.1235",
    "123500",
    "a token",
    "",
  ]);
});

test("a place has the name of its tick, where it has one", () => {
  const name = namer({ tickvals: [0, 1], ticktext: ["zero", "one"] });
  assert.deepEqual([0, 1, 2].map(name), ["zero", "one", "2"]);
  assert.equal(namer({})(0.5), "0.5");
});

test("a caption says how much a table leaves out", () => {
  assert.equal(captionWithOmissions("Norms", [10, 10, "rows"]), "Norms");
  assert.equal(
    captionWithOmissions("Norms", [10, 12, "rows"]),
    "Norms (2 of 12 rows are not shown)",
  );
  assert.equal(
    captionWithOmissions("S", [1, 3, "rows"], [2, 4, "columns"]),
    "S (2 of 3 rows and 2 of 4 columns are not shown)",
  );
});

test("lines that share an axis share a table, a row for each place", () => {
  const layout = { xaxis: { title: { text: "token" } }, yaxis: { title: { text: "norm" } } };
  const [table, ...others] = seriesTables(
    [
      { name: "head 0", x: [2, 0, 1], y: [0.2, 0, 0.1] },
      { name: "head 1", x: [1, 3], y: [1.1, 1.3] },
    ],
    layout,
    "Norms",
  );
  assert.equal(others.length, 0);
  const [caption, header, rows] = table;
  assert.equal(caption, "Norms");
  assert.deepEqual(header, ["token", "head 0", "head 1"]);
  assert.deepEqual(rows, [
    ["0", "0", ""],
    ["1", "0.1", "1.1"],
    ["2", "0.2", ""],
    ["3", "", "1.3"],
  ]);
});

test("bars that lie have their places along y, and a trace without places counts from x0", () => {
  const bars = { orientation: "h", name: "p", y: ["dog", "cat"], x: [0.5, 0.25] };
  assert.deepEqual(seriesTables([bars], {}, "")[0][2], [
    ["dog", "0.5"],
    ["cat", "0.25"],
  ]);
  const counted = { name: "p", y: [7, 8, 9], x0: 10, dx: 5 };
  assert.deepEqual(
    seriesTables([counted], {}, "")[0][2].map(([place]) => place),
    ["10", "15", "20"],
  );
});

test("a closed curve keeps its order and both of its points at one place", () => {
  const curve = { name: "phase", x: [0, 1, 0], y: [1, 2, 3] };
  assert.deepEqual(seriesTables([curve], {}, "")[0][2], [
    ["0", "1"],
    ["1", "2"],
    ["0", "3"],
  ]);
});

test("a heatmap is a table with the names of its axes, cut where it is large", () => {
  const layout = {
    xaxis: { title: { text: "column" } },
    yaxis: { title: { text: "row" }, tickvals: [0], ticktext: ["first"] },
  };
  const [caption, header, rows] = heatmapTable({ z: [[1.23456, 2], [3]] }, layout, "S");
  assert.equal(caption, "S");
  assert.deepEqual(header, ["row \\ column", "0", "1"]);
  assert.deepEqual(rows, [
    ["first", "1.235", "2"],
    ["1", "3", ""],
  ]);
  const wide = heatmapTable({ z: Array.from({ length: 70 }, () => Array(65).fill(0)) }, {}, "S");
  assert.equal(wide[0], "S (6 of 70 rows and 1 of 65 columns are not shown)");
  assert.equal(wide[1].length, 65);
  assert.equal(wide[2].length, 64);
});

test("a title that would run under the button is cut, and its signs stay text", () => {
  assert.deepEqual(fitTitle({ text: "Norms" }, 400), { text: "Norms" });
  const text = fitTitle({ text: "a, b and c of every head and layer" }, 220)?.text ?? "";
  assert.match(text, /^a, b and c of.*…$/);
  assert.ok(text.length <= (220 - 84) / 7.4);
  const token = fitTitle({ text: "“&lt;img&gt;” &amp; all that a text of tags may hold" }, 220);
  assert.match(token?.text ?? "", /^“&lt;img>” &amp; .*…$/);
});

test("the legend below a drawing names what plotly does not", () => {
  const layout = { showlegend: true, legend: { orientation: "h", yref: "container" } };
  const data = [{ name: "a" }, { name: "b", showlegend: false }, {}];
  assert.deepEqual(namedTraces({ data, layout }), [{ name: "a" }]);
  assert.deepEqual(namedTraces({ data, layout: { ...layout, showlegend: false } }), []);
  assert.deepEqual(namedTraces({ data, layout: { showlegend: true, legend: {} } }), []);
});

test("a figure that has a layout for a narrow panel is drawn with it there", () => {
  const narrow = { below: 500, layout: { xaxis: { domain: [0, 0.5] } } };
  const layout = { title: { text: "Cost" }, xaxis: { domain: [0, 0.25] }, meta: { narrow } };
  assert.equal(layoutFor(layout, 500), layout);
  assert.deepEqual(layoutFor(layout, 499), { ...layout, xaxis: { domain: [0, 0.5] } });
  assert.deepEqual(layoutFor({ height: 1 }, 100), { height: 1 });
});
