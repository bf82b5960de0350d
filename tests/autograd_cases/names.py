"""The names of grad_fn: tensors print them."""

import itertools

UNARY = (
    "neg abs exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square sin cos tan asin acos atan sinh cosh "
    "tanh asinh "
    "atanh sigmoid relu sign floor ceil round trunc frac erf erfc erfinv lgamma digamma sgn deg2rad rad2deg "
    "nan_to_num positive"
).split()
METHODS = (
    "t sum mean std var prod max min median norm cumsum(0) cumprod(0) sum(0) mean(0) sum((0,1)) sum(0,keepdim=True) "
    "std(0) var(0) "
    "prod(0) max(0)[0] min(0)[0] median(0)[0] amax(0) amin(0) logsumexp(0) softmax(0) log_softmax(0) clone() "
    "contiguous() "
    "view(9) view(-1) reshape(9) reshape(1,9) flatten() squeeze() squeeze(0) squeeze((0,1)) unsqueeze(0) "
    "transpose(0,1) permute(1,0) expand(2,3,3) "
    "repeat(2,1) select(0,1) narrow(0,0,2) diagonal() split(1)[0] split([1,2])[0] chunk(3)[0] unbind()[0] flip(0) "
    "roll(1) tril() triu() "
    "gather(0,i) index_select(0,j) masked_fill(m,0.) masked_select(m) take(j) float() double() half() "
    "to(torch.float64) "
    "clamp(0,1) clamp(min=0) clamp_min(0) clamp_max(1) pow(2) pow(2.5) pow(x) sort()[0] topk(2)[0] kthvalue(1)[0] "
    "mode()[0] cummax(0)[0] renorm(2,0,1.) "
    "unfold(0,2,1) as_strided((2,2),(1,1)) view_as(x) expand_as(x) addmm(x,x) matmul(x) mm(x) mv(v) dot_ trace() "
    "det() inverse() "
    "repeat_interleave(2) tile(2) movedim(0,1) swapaxes(0,1) unflatten(0,(1,3)) hsplit(3)[0] tensor_split(3)[0] "
    "diff() dist(y) cross(y) "
    "addcmul(x,x) addcdiv(x,x) lerp(x,0.5) lerp(x,x) atan2(x) hypot(x) fmod(2) remainder(2) fmod(x) remainder(x) "
    "where(m,y) "
    "index_add(0,j,y) index_copy(0,j,y) index_fill(0,j,1.) scatter(0,i,y) scatter(0,i,1.) scatter_add(0,i,y) "
    "masked_scatter(m,y) put_ "
    "diag() diag_embed() aminmax()[0] nansum() logcumsumexp(0) std(0,correction=0) var_mean_ type(torch.float64) "
    "bfloat16() T mT real item_"
).split()
OPERATORS = (
    "x+1 x+y x+v 1+x x-1 x-y 1-x x*2 x*y 2*x x/2 x/y 1/x x**2 x**y 2**x -x x@y x@v v@x v@v x[0] x[:1] "
    "x[0,1] x[None] x[...] x[:,1:] x[j] x[m] x[i] x[0][1] x[0:1,0] x[:,None] abs(x) x[...,0] x[()] x%2"
).split()
FUNCTIONS = """torch.cat([x,y]) torch.stack([x,y]) torch.cat([x,x.detach()]) torch.add(x,y,alpha=2) torch.bmm(b,b)
torch.matmul(b,b) torch.matmul(b,v)
torch.outer(v,v) torch.dot(v,v) torch.mv(x,v) torch.mm(x,y) torch.addmm(x,x,y) torch.baddbmm(b,b,b) torch.where(m,x,y)
torch.where(m,x,0.) torch.maximum(x,y) torch.minimum(x,y) torch.tensordot(x,y,1) torch.hstack([x,y]) torch.vstack([x,y])
F.relu(x) F.leaky_relu(x) F.elu(x) F.gelu(x) F.gelu(x,approximate='tanh') F.selu(x) F.celu(x) F.silu(x) F.mish(x)
F.softplus(x) F.softsign(x) F.hardtanh(x) F.relu6(x) F.hardswish(x)
F.hardsigmoid(x) F.logsigmoid(x) F.tanhshrink(x) F.softshrink(x) F.hardshrink(x) F.threshold(x,0.,1.) F.glu(x[:,:2])
F.softmax(x,1) F.log_softmax(x,1) F.softmin(x,1) F.prelu(x,w1) F.normalize(x)
F.linear(x,y) F.linear(x,y,v) F.linear(b,x) F.linear(b,x,v) F.linear(v,x) F.linear(v,x,v) F.embedding(j,x)
F.dropout(x,0.5) F.dropout(x,0.) F.one_hot(j)*x F.pad(x,(1,1)) F.pad(x,(1,1),value=2.)
F.mse_loss(x,y) F.l1_loss(x,y) F.smooth_l1_loss(x,y) F.huber_loss(x,y) F.nll_loss(x,j) F.cross_entropy(x,j)
F.binary_cross_entropy(x.sigmoid(),m.float()) F.binary_cross_entropy_with_logits(x,m.float())
F.kl_div(x,y) F.cosine_similarity(x,y) F.cosine_embedding_loss(x,y,v.detach().sign()) F.hinge_embedding_loss(x,y)
F.margin_ranking_loss(v,v,v) F.triplet_margin_loss(x,y,x) F.pairwise_distance(x,y) F.multi_margin_loss(x,j)
F.poisson_nll_loss(x,y) F.gaussian_nll_loss(x,y,x*x) F.layer_norm(x,(3,)) F.layer_norm(x,(3,),v,v)
F.batch_norm(x,None,None,training=True) F.batch_norm(x,v.detach(),v.detach().abs()+1) F.group_norm(img,1)
F.instance_norm(img) F.rms_norm(x,(3,))
F.conv2d(img,ker) F.conv_transpose2d(img,ker) F.max_pool2d(img,2) F.avg_pool2d(img,2) F.adaptive_avg_pool2d(img,1)
F.adaptive_avg_pool2d(img,2) F.adaptive_max_pool2d(img,2) F.max_pool1d(img[0],2) F.avg_pool1d(img[0],2)
F.interpolate(img,scale_factor=2) F.interpolate(img,scale_factor=2,mode='bilinear')
F.unfold(img,2) F.pixel_shuffle(img.expand(1,4,4,4),2) F.scaled_dot_product_attention(img,img,img) torch.cdist(x,y)
torch.cumsum(x,0) torch.norm(x) torch.norm(x,dim=0) torch.linalg.norm(x) torch.linalg.inv(x) torch.linalg.solve(x,y)
torch.linalg.det(x) torch.complex(x,y)
torch.view_as_complex(x[:,:2].contiguous()) torch.stft_ torch.log_softmax(x,0) torch.softmax(x,0) torch.sigmoid(x)
torch.lerp(x,y,0.3) torch.clamp(x,y) torch.logaddexp(x,y) torch.special.expit(x) torch.var_mean(x)[0]
torch.std_mean(x)[1] torch.meshgrid(v,v,indexing='ij')[0] torch.broadcast_to(v,(2,3)) torch.ravel(x) torch.squeeze(x)
torch.clone(x) torch.rot90(x) torch.inner(v,v) torch.inner(x,y) torch.chain_matmul_ torch.relu(x) torch.rrelu(x)
torch.embedding_renorm_ torch.nn.Linear(3,2)(x) torch.nn.LSTM(3,2)(x)[0] torch.nn.GRU(3,2)(x)[0]
torch.nn.RNN(3,2)(x)[0] torch.nn.BatchNorm1d(3)(x) torch.nn.LayerNorm(3)(x) torch.nn.MultiheadAttention(3,1)(x,x,x)[0]
torch.nn.TransformerEncoderLayer(3,1,4,dropout=0.)(x) torch.nn.Embedding(4,2)(j) torch.nn.Bilinear(3,3,2)(x,y)
torch.nn.Conv2d(1,1,2)(img) torch.nn.Flatten()(img) torch.nn.Unflatten(0,(1,3))(v) torch.nn.Softmax(1)(x)""".split()
IN_PLACE = (
    "a.add_(1) a.mul_(2) a.zero_() a.fill_(2.) a.exp_() a.relu_() a.clamp_(0,1) a.copy_(y) a.sub_(y) "
    "a.div_(y) a.neg_() a.sigmoid_() a.tanh_() a.pow_(2) a.addcmul_(y,y) a.masked_fill_(m,0.) a.index_add_(0,j,y) "
    "a.scatter_(0,i,y) a.sqrt_() a.normal_() a.uniform_() F.relu_(a) F.dropout(a,0.5,inplace=True) a.lerp_(y,0.5) "
    "a.addmm_(y,y) a.index_fill_(0,j,1.) a.random_() a.bernoulli_()"
).split()


def _environment(torch):
    n = {"torch": torch, "F": torch.nn.functional}
    n["x"] = (torch.arange(9.0).reshape(3, 3) / 10 + 0.05 + torch.eye(3)).requires_grad_()
    n["y"] = (torch.arange(9.0).reshape(3, 3) / 7 + 0.1).requires_grad_()
    n["v"] = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    n["w1"] = torch.tensor([0.2], requires_grad=True)
    n["b"] = torch.ones(2, 3, 3, requires_grad=True)
    n["i"] = torch.tensor([[0, 1, 2], [1, 0, 2], [0, 0, 0]])
    n["j"] = torch.tensor([0, 2, 1])
    n["m"] = n["x"].detach() > 0.5
    n["img"] = torch.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    n["ker"] = torch.ones(1, 1, 2, 2, requires_grad=True)
    return n


def _names(torch, see, texts):
    for text in texts:
        if text.endswith("_") and "(" not in text:
            continue  # a placeholder
        n = _environment(torch)
        n["a"] = n["x"] * 1
        value = eval(text, n)
        see([text, str(value.grad_fn.name()) if value.grad_fn is not None else None])


def case_unary(torch, see):
    _names(torch, see, [f"x.{name}()" for name in UNARY])


def case_methods(torch, see):
    bare = {"T", "mT", "H", "real"}
    _names(torch, see, [f"x.{m}" if m in bare or m.endswith(("_", ")", "]")) else f"x.{m}()" for m in METHODS])


def case_operators(torch, see):
    _names(torch, see, OPERATORS)


def case_functions(torch, see):
    _names(torch, see, FUNCTIONS)


def case_in_place(torch, see):
    _names(torch, see, IN_PLACE)


def case_item_assignment(torch, see):
    for index, value in itertools.product(["0", "slice(1)", "(0,1)", "j", "m"], ["1.0", "y", "w1", "v"]):
        n = _environment(torch)
        a = n["x"] * 1
        try:
            a[eval(index, n)] = eval(value, n)
        except Exception as error:
            see([index, value, type(error).__name__])
        else:
            see([index, value, a.grad_fn.name()])


def case_views_after_a_write(torch, see):
    n = _environment(torch)
    a = n["x"] * 1
    v = a[0]
    u = a.view(9)
    a.add_(1)
    see(a.grad_fn.name(), v.grad_fn.name(), u.grad_fn.name())
    v.mul_(2)
    see(a.grad_fn.name(), v.grad_fn.name(), u.grad_fn.name())
