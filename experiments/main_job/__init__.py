"""What `experiments.reproduce`, `stages` and `report` are made of."""
