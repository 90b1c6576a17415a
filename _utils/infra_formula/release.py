"""The digest of this release; written by `make generate`."""

DIGEST = "2eee15196799bff3d43ff03281f079d76b138312cd1195b7584ff35227e5f3e8"
