"""The digest of this release; written by `make generate`."""

DIGEST = "e0be7cbd8fb28bcc1313d8ab393867541b32b0e374cb2008842b92d5949155ca"
