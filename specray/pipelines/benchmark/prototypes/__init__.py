"""How good prototypes are, and what kept features save."""
