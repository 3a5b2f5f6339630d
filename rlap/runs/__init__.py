"""The engine room: one idempotent run, grids, the pool, estimates."""
