"""Instrument a model server: one decorator, and every series it owes its operators."""
