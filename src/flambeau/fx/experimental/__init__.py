"""Rewriting of whole modules."""
