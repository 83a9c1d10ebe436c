"""One file that holds all of Medic: how it is made from the embedded database, and how it is put back."""
