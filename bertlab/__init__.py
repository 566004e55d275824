"""bertlab: recipes and scripts that fine-tune BERT-family encoders with the Hugging Face Trainer."""

__version__ = "0.1.0"
