"""Rules, alert states, and webhooks that are never lost."""
