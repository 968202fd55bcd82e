"""Ratings that exist already, as a study that has ended: reading them, and storing them."""
