"""The digest of this release; written by `make generate`."""

DIGEST = "dcef08b3958f791450debf570dda430fa08da19272171d4e50ee72a2880a71ae"
