"""Bring samples in: OTLP, scraping, GPUs through NVML, the host."""
