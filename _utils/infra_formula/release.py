"""The digest of this release; written by `make generate`."""

DIGEST = "03d406ec155e2e66835daa073db993daa833412ddf106f4a1522e7c532bd28c0"
