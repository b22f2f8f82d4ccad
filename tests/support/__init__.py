"""A server, a browser and the pages as a person uses them: for tests, docs and benchmarks."""
