"""Why an entry differs: shown in `docs/conformance.md`. It counts as a difference all the same."""

_SUBNORMAL = "products of subnormal numbers underflow in another order"
_TIMES_ZERO = "an infinite or NaN element meets the zeros of padding, transforms or masks, and makes a NaN further off"

REASONS: dict[str, str] = {
    "as_strided_scatter": "PyTorch gives elements that stay no gradient and overwritten ones one",
    "chalf": "NumPy has no complex numbers of half precision",
    "cumprod": _SUBNORMAL,
    "masked.cumprod": _SUBNORMAL,
    "digamma": "PyTorch's trigamma of -inf is NaN",
    "index_reduce (prod)": "second derivatives of products with two zeros",
    "scatter_reduce (prod)": "second derivatives of products with two zeros",
    "linalg.norm (subgradients_at_zero)": "second derivatives at zero, which do not exist: NaN there, 0 here",
    "masked.std": "NaN behind a mask: 0 here",
    "masked.var": "NaN behind a mask: 0 here",
    "native_batch_norm": _TIMES_ZERO,
    "nn.functional.bilinear": _TIMES_ZERO,
    "nn.functional.conv1d": _TIMES_ZERO,
    "nn.functional.conv2d": _TIMES_ZERO,
    "nn.functional.conv3d": _TIMES_ZERO,
    "nn.functional.instance_norm": _TIMES_ZERO,
    "nn.functional.interpolate (bicubic)": "uint8: some pixels differ by 1, as PyTorch's kernels do among themselves",
    "nn.functional.linear_cross_entropy (chunked)": "PyTorch's chunked form leaves terms of its second derivative out",
    "nn.functional.local_response_norm": "means of integers are not rounded down here",
    "nn.functional.normalize": "the norm of order 0 of NaN",
    "masked.normalize": "the norm of order 0 of NaN",
    "nn.functional.scaled_dot_product_attention": "bfloat16: PyTorch rounds the weights, here they are float32",
    "prod": "the product of NaN and several zeros has the gradient 0 in PyTorch",
    "renorm": "norms of slices that hold NaN",
    "scatter_reduce (amax)": "PyTorch counts the element that takes no part (include_self=False) among those that tie",
    "scatter_reduce (amin)": "PyTorch counts the element that takes no part (include_self=False) among those that tie",
    "special.bessel_j0": "PyTorch's series is off by 5e-6 near a zero of the function",
    "special.bessel_y1": "PyTorch's series is off by 5e-6 near a zero of the function",
    "special.log_ndtr": "PyTorch's derivative at -inf is NaN",
    "nn.functional.embedding_bag": "which of equal or NaN elements is the largest",
    "arange": "a fractional step for an integer out= is refused as a RuntimeError",
}
