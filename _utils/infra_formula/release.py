"""The digest of this release; written by `make generate`."""

DIGEST = "19dcde6bf6c0ddd9ee80d97d7f9e2e720e404d99c93dcf0e8073fdda0ff6a069"
