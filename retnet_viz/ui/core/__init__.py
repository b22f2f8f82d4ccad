"""The page and its state: links, undo, work in threads, messages to and from the browser."""
