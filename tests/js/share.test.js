// The address that a link is made of.

import assert from "node:assert/strict";
import { test } from "node:test";
import { mergeQuery } from "../../retnet_viz/ui/core/share.js";
import { textColorOn } from "../../retnet_viz/ui/panels/common.js";

/** @param {string} search */
function openAt(search) {
  Object.assign(globalThis, { location: { search } });
}

test("a link keeps what the address says beside the state, and takes the state's place", () => {
  openAt("?theme=dark&s=old&hide=cost&present=1&x=a%20b");
  assert.equal(mergeQuery("s=new"), "theme=dark&x=a+b&s=new");
  assert.equal(mergeQuery("s=new", "", "hide=norms"), "theme=dark&x=a+b&s=new&hide=norms");
  openAt("");
  assert.equal(mergeQuery("s=new"), "s=new");
  assert.equal(mergeQuery(""), "");
});

test("letters on a colour are black or white, whichever stands out", () => {
  assert.equal(textColorOn(255, 255, 255), "#000");
  assert.equal(textColorOn(0, 0, 0), "#fff");
  assert.equal(textColorOn(0, 0, 255), "#fff"); // blue is dark
  assert.equal(textColorOn(0, 255, 0), "#000"); // green is light
});
