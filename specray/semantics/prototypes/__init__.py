"""Class prototypes fitted to principal mask proposals by expectation maximisation (PriMaPs-EM)."""
