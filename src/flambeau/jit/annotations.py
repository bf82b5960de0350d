"""Types under the name by which older programs import them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union  # noqa: UP035 - what is imported from here

__all__ = ["Any", "BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "Dict", "List", "Optional", "Tuple",
           "Union"]  # fmt: skip

BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = List  # noqa: UP006
