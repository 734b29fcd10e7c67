"""Benchmarks that anyone can run: `python -m tests.bench`. Everything stays on loopback."""
