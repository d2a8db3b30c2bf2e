"""Principal mask proposals (PriMaPs): what looks like the main direction of the features."""
