"""What is shown to a person: the report of evaluations, and the pages of other steps."""
