"""The digest of this release; written by `make generate`."""

DIGEST = "e61869a166702c376b7795fc6d0a286c21e12b21cf9e6c66119bc57d6eded016"
