"""A rater's visit: consent, a blind batch of trials, answers, hidden checks, and what counts for a clip."""
