// The scenes that the kernel has sent, one per token.

/** @import { DrawnScene, Request, StepAnswers } from "../../types.js" */

import { bytesOf } from "../common.js";

const KEPT = 96; // a scene is asked for again in a moment; all of a long text would fill the page

/**
 * Scenes by token: those that are here, and those on their way.
 * @param {Request<StepAnswers>} request
 * @param {(token: number, error: unknown) => void} arrived a scene, or an error in its place
 */
export function sceneStore(request, arrived) {
  /** @type {Map<number, DrawnScene>} */
  let here = new Map();
  /** @type {Set<number>} */
  let asked = new Set();

  /**
   * @param {number} token
   * @param {number} version
   */
  async function ask(token, version) {
    if (here.has(token) || asked.has(token)) return;
    const [scenes, questions] = [here, asked]; // of this version
    questions.add(token);
    let error = null;
    try {
      const { scene, buffers } = await request("scene", { version, token });
      scenes.set(token, { token, scene, bytes: bytesOf(buffers[0]) });
      const [oldest] = scenes.keys();
      if (scenes.size > KEPT) scenes.delete(oldest);
    } catch (reason) {
      error = reason;
    } finally {
      questions.delete(token);
    }
    if (scenes === here) arrived(token, error);
  }

  return {
    ask,
    /** @param {number} token */
    get: (token) => here.get(token) ?? null,
    forget() {
      here = new Map();
      asked = new Set();
    },
  };
}
