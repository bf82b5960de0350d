"""Passes over graphs: shapes, splitting, and the frame for one's own."""
