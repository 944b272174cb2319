"""What a conversion did, as a page to read, a text to keep and data to compute with."""
