"""Layer-wise relevance propagation on any network that torch.fx can trace."""
