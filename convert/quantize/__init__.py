"""Float network to int8 model file."""
