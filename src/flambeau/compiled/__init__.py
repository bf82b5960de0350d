"""Compiled steps: `flambeau.compile` captures a step's calls and replays them without the program."""
