"""States at a batch of k points: eigenstates of both Hamiltonians, occupations, weights of pairs and triples."""
