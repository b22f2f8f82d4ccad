// What a widget's module takes for its model in a page without a kernel.

/** @import { Bytes, Heard, Message, Model } from "../types.js" */

/**
 * What stands in for the kernel of a widget.
 * @template Traits
 * @typedef {object} Kernel
 * @property {(traits: Traits) => void} [saved] hears what the widget has set
 * @property {Record<string, (about: any) => Message | [answer: Message, buffers: Bytes[]]>} [answers]
 *   to the widget's questions; what one throws is why there is no answer
 */

/**
 * @template {object} Traits
 * @param {Traits} traits
 * @param {Kernel<Traits>} [kernel]
 * @returns {Model<Traits>}
 */
export function recordedModel(traits, { saved = () => {}, answers = {} } = {}) {
  /** @type {[event: string, heard: Heard][]} */
  const listeners = [];

  /**
   * @param {string} event
   * @param {Message} message
   * @param {Bytes[]} buffers
   */
  function fire(event, message = {}, buffers = []) {
    for (const [, heard] of listeners.filter(([name]) => name === event)) heard(message, buffers);
  }

  /**
   * @param {string} ask
   * @param {unknown} about
   * @returns {[answer: Message, buffers: Bytes[]]}
   */
  function answered(ask, about) {
    try {
      const answer = answers[ask]?.(about) ?? { error: `Nothing here answers ${ask}.` };
      return /** @type {[Message, Bytes[]]} */ (Array.isArray(answer) ? answer : [answer, []]);
    } catch (error) {
      return [{ error: error instanceof Error ? error.message : String(error) }, []];
    }
  }

  return {
    get: (name) => traits[name],
    /**
     * @param {keyof Traits | Partial<Traits>} name
     * @param {unknown} [value]
     */
    set(name, value) {
      const given = /** @type {Partial<Traits>} */ (
        typeof name === "object" ? name : { [name]: value }
      );
      const names = /** @type {(keyof Traits & string)[]} */ (Object.keys(given));
      const changed = names.filter(
        (key) => String(traits[key]) !== String(given[key]) || typeof given[key] === "object",
      );
      Object.assign(traits, Object.fromEntries(changed.map((key) => [key, given[key]])));
      for (const key of changed) fire(`change:${key}`);
      if (changed.length) fire("change");
    },
    save_changes: () => saved(traits),
    /** @param {Message} content */
    send({ question, ask, about }) {
      if (!question) return;
      queueMicrotask(() => {
        const [answer, buffers] = answered(ask, about);
        fire("msg:custom", { answers: question, ...answer }, buffers);
      });
    },
    /**
     * @param {string} events
     * @param {Heard} heard
     */
    on(events, heard) {
      for (const event of events.split(" ")) listeners.push([event, heard]);
    },
    /**
     * @param {string} events
     * @param {Heard} heard
     */
    off(events, heard) {
      for (const event of events.split(" ")) {
        const at = listeners.findIndex(([name, other]) => name === event && other === heard);
        if (at >= 0) listeners.splice(at, 1);
      }
    },
  };
}
