"""The digest of this release; written by `make generate`."""

DIGEST = "90f99b94cd851c40d88ffe16b02ec330e2efabc4e4c31afae55eb0ec019d6d80"
