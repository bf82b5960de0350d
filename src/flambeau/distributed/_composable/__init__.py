"""``torch.distributed._composable``: the name from before `fully_shard` was public."""
