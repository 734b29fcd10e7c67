"""Soaks that anyone can run: `python -m tests.soak`. Everything stays on loopback."""
