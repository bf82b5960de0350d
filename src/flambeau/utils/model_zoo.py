"""The older place of `torch.hub`'s function for published weights."""

from __future__ import annotations

from flambeau.hub import load_state_dict_from_url

load_url = load_state_dict_from_url
