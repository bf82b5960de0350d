"""Steps compiled by XLA: traced once on symbols, and from then on one program."""
