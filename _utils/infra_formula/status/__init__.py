"""The state of the components on a machine."""
