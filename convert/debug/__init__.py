"""Why a quantised network finds other things than its float network: which tensors, and what is wrong with them."""
