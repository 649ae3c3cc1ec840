"""The load generator: open-loop traffic with a shape, and a log of every request."""
