"""The Dash pages."""
