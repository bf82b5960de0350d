"""Other people's packages on flambeau, by the suites that their authors wrote; `make packages` runs it.

`suites` is the list of packages, `places` makes an environment without PyTorch for each and fetches its source archive,
`running` runs a suite on one side and reads what the plugin in `plugin/` has noted of every test, `page` writes
`docs/packages.md`. What counts is which tests pass with PyTorch and not with flambeau, test by test.
"""
