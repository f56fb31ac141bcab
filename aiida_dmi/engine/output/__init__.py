"""What leaves the engine: labelled results with units and errors, and input of micromagnetic programs."""
