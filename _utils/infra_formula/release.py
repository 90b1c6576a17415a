"""The digest of this release; written by `make generate`."""

DIGEST = "a1615f64b6b21cff89efd42ac65aca3b21f402e487a15200f8d3cb8b7236e11c"
