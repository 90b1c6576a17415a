"""The digest of this release; written by `make generate`."""

DIGEST = "097a6d3a5cb832272b04afbe96412630301e34b9f76d4d6a3ae2017e93064581"
