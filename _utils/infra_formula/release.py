"""The digest of this release; written by `make generate`."""

DIGEST = "1080f865957a2bf4943948b36bb7678649e433617f7bb013abbf93f670f3fb16"
