"""One module per provider: a pure ``parse`` from the posted body to normalised events."""
