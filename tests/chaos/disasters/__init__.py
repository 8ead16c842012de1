"""What no pipeline survives whole."""
