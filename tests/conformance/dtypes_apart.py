"""What `test_dtypes.py` leaves apart, with the reasons."""

HALVES, COMPLEX = ("float16", "bfloat16"), ("complex64", "complex128")
INTS = ("int8", "int16", "int32", "int64")


def _rows(names):
    return [name.strip() for name in names.split(";")]


#: Rows that flambeau computes in dtypes that PyTorch refuses: Fourier transforms and inverses of half precision,
#: derivatives of complex numbers, sums and losses of integers.
WIDER = set(
    _rows(
        "cholesky_inverse; complex; cosine_similarity; fft.fft; fft.fft real; fft.fft2; fft.fftn; fft.hfft; fft.hfft2; "
        "fft.hfftn; fft.ifft; fft.ifft2; fft.ifftn; fft.ihfft; fft.ihfft2; fft.ihfftn; fft.irfft; fft.irfft2; "
        "fft.irfftn; fft.rfft; fft.rfft2; fft.rfftn; stft; istft; index_reduce; inverse; linalg.inv; linalg.inv_ex; "
        "linalg.lstsq; linalg.lstsq all; linalg.matrix_norm; linalg.matrix_power; linalg.norm; linalg.slogdet; "
        "linalg.cond; linalg.pinv; linalg.tensorinv; linalg.vander; logdet; slogdet; pinverse; masked.logaddexp; "
        "masked.norm -inf; masked.std; masked.var; masked.var shown; nan_to_num; nn.functional.batch_norm evaluation; "
        "nn.functional.bilinear; nn.functional.conv_tbc; nn.functional.embedding; nn.functional.embedding_bag max; "
        "nn.functional.embedding_bag mean; nn.functional.embedding_bag sum; nn.functional.fractional_max_pool2d; "
        "nn.functional.fractional_max_pool3d; nn.functional.hinge_embedding_loss; nn.functional.kl_div; "
        "nn.functional.multi_margin_loss; nn.functional.silu; nn.functional.soft_margin_loss; pca_lowrank; polar; "
        "scatter_reduce; select_copy; select_scatter; slice_copy; slice_scatter; svd_lowrank"
    )
)

#: Reason, rows, dtypes: calls with ordinary operands, and their edges, that differ.
_CALLS = (
    (
        "one triangle is read of matrices that are not Hermitian, and the diagonal of a factor taken for real",
        "cholesky; linalg.cholesky; linalg.cholesky upper; cholesky_inverse",
        COMPLEX,
    ),
    ("there are no complex numbers of half precision", "complex; view_as_complex", ("float16",)),
    ("PyTorch takes bools where there is nothing to convolve", "nn.functional.conv2d", ("bool",)),
    (
        "refused with the class that PyTorch's own code runs into on its way",
        "masked.argmax; masked.argmin; masked.softmax; masked.log_softmax; masked.softmin",
        (*COMPLEX, "bool"),
    ),
)
#: The same, of edges alone.
_EDGES = (
    (
        "infinities and NaN in sums of several terms, and squares past the largest number: the order of sums decides",
        "cholesky_solve; cholesky_solve by a triangle; linalg.cholesky_ex; linalg.slogdet; slogdet; acosh; "
        "linalg.solve_triangular; triangular_solve; lstm_cell; gru_cell; rnn_tanh_cell; lstm; gru; rnn_tanh; "
        "nn.functional.conv1d",
        COMPLEX,
    ),
    (
        "likewise",
        "cdist; nn.functional.grid_sample; nn.functional.lp_pool1d; nn.functional.lp_pool2d; nn.functional.gelu; "
        "nn.functional.layer_norm; nn.functional.group_norm; nn.functional.rms_norm; rnn_relu; rnn_relu_cell; "
        "nn.functional.embedding_bag max; nn.functional.scaled_dot_product_attention",
        HALVES,
    ),
    ("boundaries that are in no order", "bucketize; searchsorted", (*INTS, *HALVES)),
    (
        "integers that double precision does not hold",
        "nn.functional.avg_pool1d; nn.functional.avg_pool2d; nn.functional.avg_pool3d; nn.functional.lp_pool1d",
        ("int64",),
    ),
    (
        "PyTorch's series lose digits far out",
        "special.airy_ai; special.bessel_j0; special.bessel_j1; special.bessel_y0; special.bessel_y1",
        INTS,
    ),
    ("no singular values of NaN: which refusal comes first", "pinverse; svd_lowrank", (*COMPLEX, *INTS, "uint8")),
)


def _table(groups):
    return {(row, dtype): why for why, rows, dtypes in groups for row in _rows(rows) for dtype in dtypes}


CALLS = _table(_CALLS)
EDGES = _table(_EDGES) | CALLS
