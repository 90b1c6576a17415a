"""The digest of this release; written by `make generate`."""

DIGEST = "d76433911ebca883ea3961828402ff01b7aca06efa31a28b0cf007b28e1d556a"
