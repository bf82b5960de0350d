"""What chips can do at most: dense floating-point operations per second, by the names that their drivers give them.

Makers' data sheets, without sparsity, products accumulated in float32. The first name that is part of the device's
counts.
"""

from __future__ import annotations

#: (part of the name, bfloat16, TF32), in 10^12 operations per second.
CHIPS = [
    ("GB200", 2500.0, 1250.0),
    ("B200", 2250.0, 1125.0),
    ("B100", 1750.0, 875.0),
    ("GH200", 989.4, 494.7),
    ("H200 NVL", 835.0, 417.5),
    ("H200", 989.4, 494.7),
    ("H100 PCIe", 756.0, 378.0),
    ("H100 NVL", 835.0, 417.5),
    ("H100", 989.4, 494.7),
    ("H800", 989.4, 494.7),
    ("H20", 148.0, 74.0),
    ("A100", 311.9, 155.9),
    ("A800", 311.9, 155.9),
    ("A30", 165.0, 82.0),
    ("A40", 149.7, 74.8),
    ("A10G", 70.0, 35.0),
    ("A10", 125.0, 62.5),
    ("L40S", 362.0, 183.0),
    ("L40", 181.0, 90.5),
    ("L4", 121.0, 60.0),
    ("RTX 6000 Ada", 364.2, 182.1),
    ("RTX A6000", 154.8, 77.4),
    ("RTX 5090", 209.5, 104.8),
    ("RTX 4090", 165.2, 82.6),
    ("RTX 4080", 97.5, 48.7),
    ("RTX 3090", 71.0, 35.6),
    ("RTX 3080", 59.5, 29.8),
]


def peak(device: str, precision: str) -> float | None:
    """Operations per second of a device at `bfloat16` or `tf32`; None for a chip that is not in the table."""
    for name, bfloat16, tf32 in CHIPS:
        if name.lower() in device.lower():
            return (bfloat16 if precision == "bfloat16" else tf32) * 1e12
    return None
