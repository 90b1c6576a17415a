"""The digest of this release; written by `make generate`."""

DIGEST = "add0b12c5145294b8847cd9c1cecf6695fb1948a6e68fb81c982333047124925"
