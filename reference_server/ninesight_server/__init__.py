"""A batched inference server, instrumented with the public SDK, and its load generator."""
