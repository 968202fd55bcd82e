"""Training of judges: recipes, the loop, the folder of a run, runs as processes, the shelf of models."""
