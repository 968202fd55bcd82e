"""Clips of a study: read from a manifest, brought to one form, kept under names that tell nothing."""
