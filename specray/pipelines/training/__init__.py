"""Training on what a segment run has written: prototypes by PriMaPs-EM, on Ray Train."""
