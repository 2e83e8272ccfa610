"""The pure core: everything that is arithmetic or a decision, without framework, clock, network or chance."""
