"""`torch.distributed.algorithms`: ways to send gradients."""
