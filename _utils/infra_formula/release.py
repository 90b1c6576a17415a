"""The digest of this release; written by `make generate`."""

DIGEST = "f4d76ee9a8615bce0e7bfd820e80cbacae4b24526cbfd499fc7d31eefb4dc9e7"
