"""Classes of tensors that PyTorch's compiler has for itself: here only their names, for programs that ask."""

from flambeau._subclasses.fake_tensor import FakeTensor, FakeTensorMode

__all__ = ["FakeTensor", "FakeTensorMode"]
