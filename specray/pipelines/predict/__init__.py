"""The predict job: fitted prototypes applied to a bucket of images."""
