"""What is shown over k or over energy: k maps, bands, densities of states, and how good a model is."""
