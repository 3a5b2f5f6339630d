"""How any nn.Module is read: its layers, its head, what follows a layer, its modes."""
