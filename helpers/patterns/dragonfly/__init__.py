"""The files of Dragonfly: photons and detector."""
