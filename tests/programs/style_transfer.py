"""An image optimized by LBFGS to have one picture's content and another's style: hooks, Gram matrices, smoothness."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

torch.manual_seed(6)
features = nn.Sequential(
    nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
    nn.ReflectionPad2d(1), nn.Conv2d(8, 10, 3), nn.InstanceNorm2d(10, affine=True),
).eval()  # fmt: skip
for p in features.parameters():
    p.requires_grad_(False)


def gram_matrix(y):
    b, ch, h, w = y.size()
    f = y.view(b, ch, w * h)
    return f.bmm(f.transpose(1, 2)) / (ch * h * w)


seen = {}
for index in (1, 3, 7):
    features[index].register_forward_hook(lambda module, args, output, index=index: seen.__setitem__(index, output))


def look(image):
    features(image)
    return dict(seen)


content, style = torch.rand(1, 3, 12, 12), torch.linspace(0, 1, 12).expand(1, 3, 12, 12) ** 2
wanted_content = look(content)[7].detach()
wanted_style = {index: gram_matrix(out).detach() for index, out in look(style).items()}
image = content.clone().requires_grad_(True)
optimizer, run = optim.LBFGS([image], max_iter=5), [0]
while run[0] < 12:

    def closure():
        with torch.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        out = look(image)
        style_score = sum(F.mse_loss(gram_matrix(out[i]), g) for i, g in wanted_style.items())
        content_score = F.mse_loss(out[7], wanted_content)
        smooth = (image[..., 1:] - image[..., :-1]).abs().mean() + (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
        loss = 200 * style_score + 0.1 * content_score + 0.01 * smooth
        loss.backward()
        run[0] += 1
        if run[0] % 4 == 0:
            style, content = style_score.item(), content_score.item()
            print(f"run {run[0]}: Style {style:.5f} Content {content:.4f} all {loss.item():.4f}")
        return loss

    optimizer.step(closure)
print(f"{image.detach().mean():.4f}")
