"""From files and the Hub to encoded rows with one label space."""
