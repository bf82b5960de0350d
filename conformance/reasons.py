"""Why an entry differs: shown in `docs/conformance.md`. It counts as a difference all the same."""

_TIMES_ZERO = "an infinite or NaN element meets the zeros of padding, transforms or masks, and makes a NaN further off"
_WEIGHT = "an infinite weight: PyTorch multiplies by it last"
_NUMBER = "NaN given as a Python number"
_OF_NANS = "which of several NaN the median of nothing else is"
_SINGULAR = "PyTorch's derivative at a singular matrix is 0, here it is the matrix of cofactors"

REASONS: dict[str, str] = {
    "__rpow__": "a base that only double precision can hold is rounded to single precision first",
    "as_strided_scatter": "PyTorch gives elements that stay no gradient and overwritten ones one",
    "chalf": "NumPy has no complex numbers of half precision",
    "linalg.det": _SINGULAR,
    "linalg.norm (subgradients_at_zero)": "second derivatives at zero, which do not exist: NaN there, 0 here",
    "linalg.slogdet": "the sign of a determinant that is NaN",
    "masked.median": _OF_NANS,
    "nanmedian": _OF_NANS,
    "native_batch_norm": _WEIGHT,
    "nn.functional.batch_norm": _WEIGHT,
    "nn.functional.bilinear": _TIMES_ZERO,
    "nn.functional.conv1d": _TIMES_ZERO,
    "nn.functional.conv2d": _TIMES_ZERO,
    "nn.functional.conv3d": _TIMES_ZERO,
    "nn.functional.conv_transpose1d": _TIMES_ZERO,
    "nn.functional.conv_transpose2d": _TIMES_ZERO,
    "nn.functional.conv_transpose3d": _TIMES_ZERO,
    "nn.functional.grid_sample": "places between two pixels, where the rounding of 2/3 decides which one is nearer",
    "nn.functional.instance_norm": _WEIGHT,
    "nn.functional.interpolate (bicubic)": "uint8: some pixels differ by 1, as PyTorch's kernels do among themselves",
    "nn.functional.linear_cross_entropy (chunked)": "PyTorch's chunked form leaves terms of its second derivative out",
    "nn.functional.scaled_dot_product_attention": (
        "bfloat16: PyTorch rounds the weights, here they are float32; and keys that no query may see, of NaN"
    ),
    "special.bessel_j0": "PyTorch's series is off by 5e-6 near a zero of the function",
    "special.bessel_y1": "PyTorch's series is off by 5e-6 near a zero of the function",
    "special.xlog1py": _NUMBER,
    "xlogy": _NUMBER,
}
