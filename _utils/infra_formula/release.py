"""The digest of this release; written by `make generate`."""

DIGEST = "171cbb098f8566db49eeb963256acb71468b92d95390909a9c77741614710818"
