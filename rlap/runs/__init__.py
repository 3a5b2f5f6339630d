"""The engine room: one idempotent run, grids, the pool, estimates."""

# glibc gives every large block back to the system at once, and the pages of the next
# have to be made anew: with the 85 MB activations of the padded speech features two
# thirds of the time of a training step. Other systems ignore these.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}
