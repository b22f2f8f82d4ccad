"""The tests, and in `support` what they share with the documentation and the benchmarks."""
