// A widget's model without a page: the test reads what was sent, and answers for the kernel.

/** @import { Bytes, MessageListener, Message } from "../../retnet_viz/ui/types.js" */

export function modelWithoutPage() {
  /** @type {MessageListener[]} */
  const listeners = [];
  /** @type {Message[]} */
  const sent = [];
  return {
    sent,
    /**
     * @param {string} _event
     * @param {MessageListener} listener
     */
    on: (_event, listener) => {
      listeners.push(listener);
    },
    /** @param {Message} content */
    send: (content) => {
      sent.push(content);
    },
    /**
     * @param {Message} message
     * @param {Bytes[]} buffers
     */
    reply: (message, buffers = []) => {
      for (const listener of listeners) listener(message, buffers);
    },
  };
}

/** What is to be done after now has been done. */
export const turn = () => new Promise((resolve) => setTimeout(resolve));
