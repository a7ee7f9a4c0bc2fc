"""Trains the demo's tiny pipelines: see README.md."""
