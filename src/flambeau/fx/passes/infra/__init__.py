"""The frame for passes of one's own."""
