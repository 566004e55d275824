"""From files and the Hub to checked, labelled, tokenized splits."""
