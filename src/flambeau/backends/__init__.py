"""``torch.backends``: what PyTorch would compute with. Its flags can be set; flambeau computes with NumPy."""
