"""The digest of this release; written by `make generate`."""

DIGEST = "83c967941538332a5fbcac796e3b21f1f29aa64ee4a1d6579be3b71c103032b7"
