// The address that a link is made of.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inAddress } from "../../retnet_viz/ui/core/share.js";
import { inkOn } from "../../retnet_viz/ui/panels/common.js";

/** @param {string} search */
function openAt(search) {
  Object.assign(globalThis, { location: { search } });
}

test("a link keeps what the address says beside the state, and takes the state's place", () => {
  openAt("?theme=dark&s=old&hide=cost&present=1&x=a%20b");
  assert.equal(inAddress("s=new"), "theme=dark&x=a+b&s=new");
  assert.equal(inAddress("s=new", "", "hide=norms"), "theme=dark&x=a+b&s=new&hide=norms");
  openAt("");
  assert.equal(inAddress("s=new"), "s=new");
  assert.equal(inAddress(""), "");
});

test("letters on a colour are black or white, whichever stands out", () => {
  assert.equal(inkOn(255, 255, 255), "#000");
  assert.equal(inkOn(0, 0, 0), "#fff");
  assert.equal(inkOn(0, 0, 255), "#fff"); // blue is dark
  assert.equal(inkOn(0, 255, 0), "#000"); // green is light
});
