"""The digest of this release; written by `make generate`."""

DIGEST = "d3d616d1ca5ab328228f896904447b4c8da6a5be090224c70b2123743e15414c"
