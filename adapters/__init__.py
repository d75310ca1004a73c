"""What meets the world: worlds, actors, interventions, rollout stores, proxies. Nothing yet."""
