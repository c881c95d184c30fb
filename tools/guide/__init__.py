"""How the model in the box is made: data, training, evaluation. docs/guide.md tells."""
