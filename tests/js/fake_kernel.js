// A widget's model without a page: the test reads what was sent, and answers for the kernel.

/** @import { Bytes, Heard, Message } from "../../retnet_viz/ui/types.js" */

export function modelWithoutPage() {
  /** @type {Heard[]} */
  const listeners = [];
  /** @type {Message[]} */
  const sent = [];
  return {
    sent,
    /**
     * @param {string} _event
     * @param {Heard} heard
     */
    on: (_event, heard) => {
      listeners.push(heard);
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
      for (const heard of listeners) heard(message, buffers);
    },
  };
}

/** What is to be done after now has been done. */
export const turn = () => new Promise((resolve) => setTimeout(resolve));
