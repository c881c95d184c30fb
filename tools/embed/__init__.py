"""How the model for vectors is made: the documentation's sections, training, evaluation. docs/guide.md tells."""
