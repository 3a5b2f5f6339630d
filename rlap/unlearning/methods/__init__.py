"""Class unlearning, one function a method; all leave the model as it was."""
