"""Training of judges: recipes, the loop, runs and their folders, the registry of models."""
