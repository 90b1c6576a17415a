"""The digest of this release; written by `make generate`."""

DIGEST = "b42958e51d1ce437956e02b4abee800fbd50b228f677a9df0941ab41dc0efac2"
