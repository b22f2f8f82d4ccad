// The scenes that the kernel has sent, one per token.

/** @import { SceneData, Request, StepAnswers } from "../../types.js" */

import { bytesOf } from "../common.js";

const MAX_SCENES = 96; // those of a long text would fill the memory; to request one again is fast

/**
 * The scenes by token: loaded ones, and pending requests for others.
 * @param {Request<StepAnswers>} request
 * @param {(token: number, error: unknown) => void} onArrival a scene, or an error in its place
 */
export function sceneStore(request, onArrival) {
  /** @type {Map<number, SceneData>} */
  let scenes = new Map();
  /** @type {Set<number>} */
  let pending = new Set();

  /**
   * @param {number} token
   * @param {number} version
   */
  async function ask(token, version) {
    if (scenes.has(token) || pending.has(token)) return;
    const [ownScenes, ownPending] = [scenes, pending]; // of this version
    ownPending.add(token);
    let error = null;
    try {
      const { scene, buffers } = await request("scene", { version, token });
      ownScenes.set(token, { token, scene, bytes: bytesOf(buffers[0]) });
      const [oldest] = ownScenes.keys();
      if (ownScenes.size > MAX_SCENES) ownScenes.delete(oldest);
    } catch (failure) {
      error = failure;
    } finally {
      ownPending.delete(token);
    }
    if (ownScenes === scenes) onArrival(token, error);
  }

  return {
    ask,
    /** @param {number} token */
    get: (token) => scenes.get(token) ?? null,
    forget() {
      scenes = new Map();
      pending = new Set();
    },
  };
}
