"""The digest of this release; written by `make generate`."""

DIGEST = "d3fe3c86fc4a7748d5d58a53b92b9edf0892b17a751aaa8b3b8346fb55c01cc4"
