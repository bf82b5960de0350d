"""What training scripts ask and set around the training: devices, precision, profiler, compile, amp, versions."""

import os
import platform
import warnings

import torch
import torch.nn as nn

warnings.simplefilter("ignore")
print(torch.cuda.is_available(), torch.cuda.device_count(), torch.backends.mps.is_available(), torch.version.cuda)
print(torch.accelerator.is_available(), torch.accelerator.current_accelerator(), torch.accelerator.device_count())
print(torch.__version__.split("+")[0], torch.get_default_dtype(), torch.get_float32_matmul_precision())
torch.backends.cudnn.deterministic = True
torch.backends.cudnn.benchmark = False
torch.set_float32_matmul_precision("high")
torch.use_deterministic_algorithms(True, warn_only=True)
print(torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
torch.use_deterministic_algorithms(False)
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
torch.cuda.manual_seed_all(3)
generator = torch.Generator(device="cpu").manual_seed(3)
print(torch.rand(2, generator=generator), torch.initial_seed() != 3, len(torch.get_rng_state()))
with torch.random.fork_rng():
    torch.manual_seed(1)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
print(device, device.type, device.index, torch.zeros(1, device=device).device == torch.device("cpu"))
torch.set_printoptions(precision=3, sci_mode=False)
print(torch.tensor([1 / 3, 1e-5, 1000.0]))
torch.set_printoptions(profile="default")
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(device, non_blocking=True)
model = nn.DataParallel(model) if torch.cuda.device_count() > 1 else model
step = torch.compile(lambda x: model(x).sum(), backend="eager")
torch.manual_seed(0)
nn.init.ones_(model[0].weight)
nn.init.zeros_(model[0].bias)
with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as prof:
    with torch.profiler.record_function("forward"):
        result = step(torch.ones(3, 4))
print("forward" in prof.key_averages().table(sort_by="cpu_time_total", row_limit=5), result.requires_grad)
with torch.autograd.set_detect_anomaly(True), torch.set_grad_enabled(True):
    model(torch.ones(1, 4)).sum().backward()
print(model[0].weight.grad.shape, torch.is_grad_enabled(), torch.is_inference_mode_enabled())
with torch.amp.autocast("cuda", enabled=False), torch.autocast(device_type="cpu", enabled=False):
    print(model(torch.ones(1, 4)).dtype)
scaler = torch.amp.GradScaler("cuda", enabled=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = model(torch.ones(1, 4)).sum()
scaler.scale(loss).backward()
scaler.step(optimizer)
scaler.update()
print(scaler.is_enabled(), scaler.state_dict())
averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
averaged.update_parameters(model)
print(int(averaged.n_averaged), torch.distributed.is_available(), torch.distributed.is_initialized())
pruned = {k: tuple(v.shape) for k, v in model.state_dict().items()}
print(pruned, platform.system() != "", torch.utils.data.get_worker_info())
scripted = torch.jit.script(nn.ReLU())
print(scripted(torch.tensor([-1.0, 2.0])), torch.jit.is_scripting())
for p in model.parameters():
    p.requires_grad = False
print(sum(p.numel() for p in model.parameters() if p.requires_grad), torch.finfo(torch.float32).eps)
