"""The official tower timed against laion-clap."""
