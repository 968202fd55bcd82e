"""Ratings outlive the machine: whole backups in a folder or an object store, and how they come back."""
