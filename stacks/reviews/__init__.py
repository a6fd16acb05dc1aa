"""``crm review``: what a change of the project's files means for one stack, on one page."""
