"""How fast the course computes, measured side by side with a textbook loop: `python -m benchmarks`."""
