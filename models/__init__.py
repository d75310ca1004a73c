"""Language models in Flax: backbone, checkpoints, heads, training, generation. Nothing yet."""
