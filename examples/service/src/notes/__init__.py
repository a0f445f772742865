"""The sample service: notes."""
