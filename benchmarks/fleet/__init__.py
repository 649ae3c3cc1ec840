"""What several benchmarks share: a fleet's data with real label sets, real Prometheus beside our own API."""
