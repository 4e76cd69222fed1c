"""Records of other tools: reading their rows, writing ours in their shape."""
