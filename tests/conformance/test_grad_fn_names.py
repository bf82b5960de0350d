"""Names of `grad_fn` against the live oracle: what `print` shows of a tensor that autograd knows."""

import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")

# T is torch or flambeau, F its nn.functional; x and y are 3 by 3 matrices that require grad.
EXPRESSIONS = """
x+y
x+1
1-x
x-y
x*y
x*2
x/y
x/2
2/x
x%2
x%y
x**2
x**y
2**x
-x
+x
abs(x)
x.abs()
x.exp()
x.log()
x.log2()
x.log10()
x.log1p()
x.expm1()
x.sqrt()
x.rsqrt()
x.square()
x.sin()
x.cos()
x.tan()
x.asin()
x.acos()
x.atan()
x.sinh()
x.cosh()
x.tanh()
x.asinh()
x.acosh()
x.atanh()
T.atan2(x,y)
x.sigmoid()
x.reciprocal()
x.floor()
x.ceil()
x.round()
x.trunc()
x.frac()
x.sign()
x.neg()
x.erf()
x.erfc()
x.erfinv()
x.lgamma()
x.digamma()
x.clamp(0,1)
x.clamp(min=0)
x.clamp_min(0)
x.clamp_max(0)
x.clamp(y,y)
x.sum()
x.sum(0)
x.sum((0,1))
x.mean()
x.mean(0)
x.prod()
x.prod(0)
x.max()
x.max(0).values
x.max(0)[0]
x.min()
x.min(0)[0]
T.max(x,y)
T.min(x,y)
T.maximum(x,y)
T.fmax(x,y)
T.fmin(x,y)
x.amax()
x.amin(0)
x.median()
x.median(0)[0]
x.mode(0)[0]
x.kthvalue(1,0)[0]
x.sort()[0]
x.topk(1)[0]
x.cumsum(0)
x.cumprod(0)
x.cummax(0)[0]
x.logcumsumexp(0)
x.std()
x.std(0)
x.var()
x.var(0)
x.norm()
x.norm(2,0)
x.norm(1)
T.linalg.norm(x)
T.linalg.vector_norm(x)
x.logsumexp(0)
x.softmax(0)
x.log_softmax(0)
x.t()
x.T
x.mT
x.transpose(0,1)
x.permute(1,0)
x.reshape(9)
x.reshape(3,3,1)
x.t().reshape(9)
x.view(9)
x.flatten()
x.ravel()
x.squeeze()
x.squeeze(0)
x.unsqueeze(0)
x.expand(2,3,3)
x.expand_as(x)
x.repeat(2,2)
T.tile(x,(2,2))
x[0]
x[0:1]
x[:,0]
x[...]
x[None]
x[x>0]
x[[0,1]]
x[0,0]
x[0][0]
x.index_select(0,T.tensor([0]))
x.gather(0,T.tensor([[0,0,0]]))
x.scatter(0,T.tensor([[0,0,0]]),y)
x.scatter_add(0,T.tensor([[0,0,0]]),y)
x.index_add(0,T.tensor([0]),y[:1])
x.index_copy(0,T.tensor([0]),y[:1])
x.index_fill(0,T.tensor([0]),1)
x.index_put((T.tensor([0]),),y[0])
x.masked_fill(x>0,1)
x.masked_select(x>0)
x.masked_scatter(x>0,y)
x.take(T.tensor([0]))
T.where(x>0,x,y)
T.cat([x,y])
T.stack([x,y])
T.hstack([x,y])
T.vstack([x,y])
x.split(1)[0]
x.split([1,2])[0]
x.chunk(3)[0]
x.unbind()[0]
x.tensor_split(2)[0]
x.narrow(0,0,1)
x.select(0,0)
x.diagonal()
x.diag()
x[0].diag()
x.tril()
x.triu()
x.flip(0)
x.roll(1)
x.roll(1,0)
x.rot90()
x.unfold(0,2,1)
x.clone()
x.contiguous()
x.t().contiguous()
x.double()
x.half()
x.to(T.float64)
x.type(T.float64)
x.type_as(y.double())
x.bfloat16()
x@y
x.mm(y)
x.matmul(y)
x@y[0]
x[0]@y
x[0]@y[0]
x.mv(y[0])
x[0].dot(y[0])
T.addmm(x,x,y)
T.bmm(x[None],y[None])
x[None]@y[None]
x@y[None]
T.baddbmm(x[None],x[None],y[None])
T.outer(x[0],y[0])
T.einsum('ij,jk->ik',x,y)
T.einsum('ij->i',x)
T.tensordot(x,y,1)
T.addcmul(x,x,y)
T.addcdiv(x,x,y)
T.lerp(x,y,0.5)
T.lerp(x,y,y)
T.cross(x,y,dim=1)
T.cdist(x,y)
x.trace()
x.det()
x.inverse()
T.linalg.inv(x)
T.linalg.solve(x,y)
T.kron(x,y)
x.logdet()
T.linalg.svdvals(x)
T.linalg.qr(x)[0]
T.linalg.cholesky(x@x.T+T.eye(3)*9)
T.dist(x,y)
T.logaddexp(x,y)
T.xlogy(x,y)
T.hypot(x,y)
T.renorm(x,2,0,1.)
T.nan_to_num(x)
x.relu()
T.relu(x)
F.relu(x)
F.gelu(x)
F.silu(x)
F.elu(x)
F.selu(x)
F.celu(x)
F.leaky_relu(x)
F.relu6(x)
F.hardtanh(x)
F.hardswish(x)
F.hardsigmoid(x)
F.mish(x)
F.softplus(x)
F.softsign(x)
F.tanhshrink(x)
F.hardshrink(x)
F.softshrink(x)
F.logsigmoid(x)
F.glu(x.repeat(1,2))
F.prelu(x,y[0,:1])
F.threshold(x,0.,0.)
F.softmax(x,1)
F.log_softmax(x,1)
F.softmin(x,1)
F.linear(x,y)
F.linear(x,y,y[0])
F.linear(x[None],y)
F.linear(x[None],y,y[0])
F.bilinear(x,y,T.ones(2,3,3))
F.embedding(T.tensor([0]),x)
F.conv2d(x[None,None],y[None,None])
F.conv1d(x[None],y[None])
F.conv_transpose2d(x[None,None],y[None,None])
F.max_pool2d(x[None,None],2)
F.max_pool1d(x[None],2)
F.avg_pool2d(x[None,None],2)
F.avg_pool1d(x[None],2)
F.adaptive_avg_pool2d(x[None,None],1)
F.adaptive_avg_pool2d(x[None,None],2)
F.adaptive_max_pool2d(x[None,None],2)
F.adaptive_avg_pool1d(x[None],2)
F.batch_norm(x,None,None,training=True)
F.layer_norm(x,(3,))
F.group_norm(x[None],3)
F.instance_norm(x[None])
F.rms_norm(x,(3,))
F.dropout(x)
F.dropout(x,training=False)
F.dropout2d(x[None,None])
F.alpha_dropout(x)
F.mse_loss(x,y)
F.l1_loss(x,y)
F.smooth_l1_loss(x,y)
F.huber_loss(x,y)
F.cross_entropy(x,T.tensor([0,1,2]))
F.nll_loss(x,T.tensor([0,1,2]))
F.binary_cross_entropy(x.sigmoid(),x.detach().sigmoid())
F.binary_cross_entropy_with_logits(x,x.detach())
F.kl_div(x,y.detach())
F.cosine_similarity(x,y)
F.cosine_embedding_loss(x,y,T.tensor([1,1,1]))
F.hinge_embedding_loss(x,x.detach().sign())
F.margin_ranking_loss(x,y,x.detach().sign())
F.triplet_margin_loss(x,y,y+1)
F.multi_margin_loss(x,T.tensor([0,1,2]))
F.soft_margin_loss(x,x.detach().sign())
F.poisson_nll_loss(x,y)
F.gaussian_nll_loss(x,y,y.exp())
F.pad(x,(1,1))
F.pad(x[None],(1,1),'reflect')
F.pad(x[None],(1,1),'replicate')
F.pad(x[None],(1,1),'circular')
F.interpolate(x[None,None],scale_factor=2)
F.interpolate(x[None,None],scale_factor=2,mode='bilinear')
F.normalize(x)
F.unfold(x[None,None],2)
F.pixel_shuffle(T.cat([x]*4).reshape(1,4,3,3),2)
F.scaled_dot_product_attention(x[None],y[None],y[None])
x.real
T.complex(x,y)
T.complex(x,y).abs()
T.complex(x,y).real
T.complex(x,y).imag
T.view_as_real(T.complex(x,y))
T.view_as_complex(T.stack([x,y],-1))
T.polar(x,y)
T.complex(x,y).conj()
T.complex(x,y).angle()
x.clone().mul_(2)
x.clone().zero_()
x.clone().copy_(y)
x.clone().fill_(1)
x.clone().sub_(1)
x.clone().div_(2)
x.clone().relu_()
x.clone().t_()
x.clone().sigmoid_()
x.clone().exp_()
setit(x.clone())
setit2(x.clone())
x.clone().masked_fill_(x>0,1)
x.clone().clamp_(0,1)
x.clone().uniform_()
x.clone().normal_()
x.unflatten(0,(3,1))
x.movedim(0,1)
x.swapaxes(0,1)
x.view_as(y)
x.reshape_as(y)
x.float()
T.broadcast_to(x,(2,3,3))
T.meshgrid(x[0],y[0],indexing='ij')[0]
x.repeat_interleave(2)
T.cumulative_trapezoid(x)
T.trapezoid(x)
x.diff()
x.nansum()
x.nanmean()
x.quantile(0.5)
x.heaviside(y.detach())
x.count_nonzero()
T.var_mean(x)[0]
T.std_mean(x)[0]
T.special.expit(x)
T.special.xlog1py(x,y)
T.special.i0(x)
T.i0(x)
T.sinc(x)
T.logit(x.sigmoid())
T.ldexp(x,T.tensor(2))
T.float_power(x,2)
T.fft.fft(x)
T.fft.rfft(x)
T.fft.fft2(x)
T.remainder(x,2)
T.fmod(x,2)
T.copysign(x,y)
T.square(x)
T.positive(x)
T.true_divide(x,y)
T.div(x,y,rounding_mode='floor')
T.rsub(x,1)
T.add(x,y,alpha=2)
T.as_strided(x,(2,2),(1,1))
x.as_strided((2,),(1,))
x.bernoulli()
T.normal(x,1.0)
T.multinomial(x.abs(),1)
x.cov()
x.corrcoef()
T.combinations(x[0])
T.cartesian_prod(x[0],y[0])
x.take_along_dim(T.tensor([[0]]),0)
x.put(T.tensor([0]),y[0,:1])
x.matrix_power(2)
x.matrix_exp()
T.linalg.eigvalsh(x@x.T)
T.linalg.pinv(x)
T.linalg.matrix_norm(x)
T.nn.utils.rnn.pad_sequence([x,y])
x.pow(0.5)
x.float_power(2)
T.pow(x,y)
T.sigmoid(x)
x.addmm(x,y)
x.addmv(y,x[0])
x.addr(x[0],y[0])
""".strip().splitlines()

#: Composed of other operations in PyTorch, of which the name only tells the last one.
DIFFERENT = {
    "x.t().reshape(9)", "T.nn.utils.rnn.pad_sequence([x,y])", "T.kron(x,y)", "x.clone().t_()", "x.cov()",
    "T.cumulative_trapezoid(x)", "T.trapezoid(x)", "T.combinations(x[0])", "x.heaviside(y.detach())", "x.logdet()",
}  # fmt: skip


def setit(t):
    t[0] = 1.0
    return t


def setit2(t):
    t[t > 0] = t.detach()[0, 0] * 1
    return t


def name(T, expression):
    T.manual_seed(0)
    x, y = (T.rand(3, 3) + 0.05).requires_grad_(), (T.rand(3, 3) + 0.1).requires_grad_()
    scope = {"T": T, "F": T.nn.functional, "x": x, "y": y, "setit": setit, "setit2": setit2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, scope)
    return type(result.grad_fn).__name__ if result.grad_fn is not None else result.requires_grad


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if e not in DIFFERENT])
def test_names(expression):
    try:
        expected = name(torch, expression)
    except RuntimeError:
        pytest.skip("PyTorch refuses this one")
    try:
        found = name(flambeau, expression)
    except AttributeError as error:
        pytest.skip(str(error))
    assert found == expected


def test_the_name_stays_when_the_graph_is_gone():
    x = flambeau.ones(3, 3, requires_grad=True)
    total = x.sum(0).squeeze(0).sum()
    column = total.grad_fn.next_functions[0][0]
    total.backward()
    assert column.name() == "SqueezeBackward1"
    assert repr(total) == "tensor(9., grad_fn=<SumBackward0>)"
    assert repr(total.grad_fn).startswith("<SumBackward0 object at ")
