"""The digest of this release; written by `make generate`."""

DIGEST = "ab5d56ccdbb52a397cb7537864c0895cb9a897b00509b3be4f9315a4d9909e6e"
