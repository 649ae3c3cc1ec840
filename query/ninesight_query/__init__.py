"""PromQL: parse, evaluate with numpy, answer over HTTP as Prometheus does."""
