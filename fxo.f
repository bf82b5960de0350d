Traceback (most recent call last):
  File "/tmp/fxo.py", line 1, in <module>
    import torch, torch.fx as fx, math, operator
  File "<frozen importlib._bootstrap>", line 1176, in _find_and_load
  File "<frozen importlib._bootstrap>", line 1147, in _find_and_load_unlocked
  File "<frozen importlib._bootstrap>", line 676, in _load_unlocked
  File "<frozen importlib._bootstrap>", line 573, in module_from_spec
  File "/work/wt/programs/src/flambeau/run.py", line 57, in create_module
    module = importlib.import_module(str(_target(spec.name)))
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/root/.pyenv/versions/3.11.7/lib/python3.11/importlib/__init__.py", line 126, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/work/wt/programs/src/flambeau/fx/__init__.py", line 10, in <module>
    from flambeau.fx import proxy as proxy
  File "/work/wt/programs/src/flambeau/fx/proxy.py", line 18, in <module>
    from flambeau.fx.graph import Graph
  File "/work/wt/programs/src/flambeau/fx/graph.py", line 365
    )
    ^
SyntaxError: f-string: expecting '}'
