"""Rules over what a stack would deploy."""
