"""Results as files: an export, the layout of the MusicEval release, the training data of a judge."""
