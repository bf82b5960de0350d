"""The accelerator's bench: the same training programs under PyTorch, torch.compile and flambeau compiled by XLA."""
