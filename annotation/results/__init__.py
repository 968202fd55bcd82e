"""What a study has come to: every rating with its standing, MOS, how far they can be trusted, changes."""
