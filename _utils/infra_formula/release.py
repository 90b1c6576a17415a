"""The digest of this release; written by `make generate`."""

DIGEST = "2c5c18d6ddcfb06b37bb2c1cb65a8e01b7d9c45ecf10cae4fed2dd730bdd6be3"
