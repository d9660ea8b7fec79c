"""The plot drives of this host: which there are, which comes next, and who is writing to them."""
