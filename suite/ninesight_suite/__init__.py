"""The `ninesight` command, its configuration and the wiring; no logic of its own."""
