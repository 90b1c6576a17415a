"""The digest of this release; written by `make generate`."""

DIGEST = "84a46ec50ddcf9064d4768abb528dda7d3c26573d884f94d44698fdd9baf1ece"
