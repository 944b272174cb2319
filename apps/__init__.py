"""Programs on top of ``runtime``: the live camera demo and its outputs."""
