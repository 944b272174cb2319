"""Model files from elsewhere, without a card: what can be told from the file, and what is assumed."""
