"""ResNet-50 in float32, whose products may be rounded as TF32."""

from bench.gpu.workloads import resnet50


def make(wrap, device, tiny):
    return resnet50.make(wrap, device, tiny, "tf32")
