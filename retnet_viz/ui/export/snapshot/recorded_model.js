// The model of a widget in a page without a kernel.

/** @import { Bytes, MessageListener, Message, Model } from "../../types.js" */

/**
 * Replaces the kernel of a widget.
 * @template Traits
 * @typedef {object} Kernel
 * @property {(traits: Traits) => void} [onSave] after the widget has set traits
 * @property {Record<string, (about: any) => Message | [answer: Message, buffers: Bytes[]]>} [answers]
 *   to the widget's questions; an error that one throws is the answer
 */

/**
 * @template {object} Traits
 * @param {Traits} traits
 * @param {Kernel<Traits>} [kernel]
 * @returns {Model<Traits>}
 */
export function recordedModel(traits, { onSave = () => {}, answers = {} } = {}) {
  /** @type {[event: string, listener: MessageListener][]} */
  const listeners = [];

  /**
   * @param {string} event
   * @param {Message} message
   * @param {Bytes[]} buffers
   */
  function fire(event, message = {}, buffers = []) {
    for (const [, listener] of listeners.filter(([name]) => name === event))
      listener(message, buffers);
  }

  /**
   * @param {string} ask
   * @param {unknown} about
   * @returns {[answer: Message, buffers: Bytes[]]}
   */
  function answerTo(ask, about) {
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
      const newValues = /** @type {Partial<Traits>} */ (
        typeof name === "object" ? name : { [name]: value }
      );
      const names = /** @type {(keyof Traits & string)[]} */ (Object.keys(newValues));
      const changed = names.filter(
        (key) =>
          String(traits[key]) !== String(newValues[key]) || typeof newValues[key] === "object",
      );
      Object.assign(traits, Object.fromEntries(changed.map((key) => [key, newValues[key]])));
      for (const key of changed) fire(`change:${key}`);
      if (changed.length) fire("change");
    },
    save_changes: () => onSave(traits),
    /** @param {Message} content */
    send({ question, ask, about }) {
      if (!question) return;
      queueMicrotask(() => {
        const [answer, buffers] = answerTo(ask, about);
        fire("msg:custom", { answers: question, ...answer }, buffers);
      });
    },
    /**
     * @param {string} events
     * @param {MessageListener} listener
     */
    on(events, listener) {
      for (const event of events.split(" ")) listeners.push([event, listener]);
    },
    /**
     * @param {string} events
     * @param {MessageListener} listener
     */
    off(events, listener) {
      for (const event of events.split(" ")) {
        const index = listeners.findIndex(([name, other]) => name === event && other === listener);
        if (index >= 0) listeners.splice(index, 1);
      }
    },
  };
}
