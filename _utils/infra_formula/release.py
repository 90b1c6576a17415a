"""The digest of this release; written by `make generate`."""

DIGEST = "d8e6107afc45e3a83b45e34bd595759273cf58ed6a04d44e17410173da6699ac"
