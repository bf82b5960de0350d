"""Why an entry differs: shown in `docs/conformance.md`. It counts as a difference all the same."""

REASONS: dict[str, str] = {
    "chalf": "NumPy has no complex numbers of half precision",
    "nn.functional.linear_cross_entropy (chunked)": "PyTorch's chunked form leaves terms of its second derivative out",
    "special.bessel_j0": "PyTorch's series is off by 5e-6 near a zero of the function",
    "special.bessel_y1": "PyTorch's series is off by 5e-6 near a zero of the function",
}
