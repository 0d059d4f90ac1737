"""An application team: its own namespace, its own workers; of Freshet it imports the contract and nothing else."""
