"""What the judge sees when a guard is missing."""
