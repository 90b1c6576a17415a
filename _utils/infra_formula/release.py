"""The digest of this release; written by `make generate`."""

DIGEST = "0796fcd892c52a527abaeb6e610346553e267347363fd161051a5496ace64fb1"
