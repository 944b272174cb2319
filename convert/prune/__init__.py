"""Structured pruning: channels leave the network, and what is rebuilt is dense and smaller."""
