#!/usr/bin/env bash
# Mutation testing of D and Q and of the SOI operator, on a copy of the working tree (docs/mutation.md).
# Usage: scripts/mutation.sh [PATTERN ...]   (names of mutants, such as 'aiida_dmi.engine.states.spinors.x_spinor*')
# The copy, with mutmut's results, stays in .mutation: `cd .mutation && mutmut show NAME`.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf .mutation
mkdir .mutation
cp -r aiida_dmi tests pyproject.toml README.md LICENSE .mutation
cd .mutation
# An environment of its own: mutmut asks for a later click than aiida-pseudo bears.
python -m venv --system-site-packages venv
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$site" >"$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
venv/bin/python -m pip install -q --no-warn-conflicts mutmut==3.8.1
export PATH=$PWD/venv/bin:$PATH
rm -rf tests/data/hydrogen-film tests/data/prototype

# Tests that see these functions and run in one process, without AiiDA: a mutant costs from 0.1 s to a minute.
cat >setup.cfg <<'CONFIGURATION'
[mutmut]
source_paths = aiida_dmi
only_mutate =
    aiida_dmi/engine/quantities/dmi.py
    aiida_dmi/engine/quantities/spin_current.py
    aiida_dmi/engine/states/spinor_states.py
    aiida_dmi/engine/states/spinors.py
    aiida_dmi/engine/model/spin_frame.py
    aiida_dmi/engine/model/wannier.py
    aiida_dmi/engine/kspace/interpolation.py
    aiida_dmi/engine/build/pseudopotential.py
    aiida_dmi/engine/model/harmonics.py
pytest_add_cli_args =
    --confcutdir=tests/engine
    -p
    no:cacheprovider
pytest_add_cli_args_test_selection =
    tests/engine/model/test_soi_operator.py
    tests/engine/states/test_response.py
    tests/engine/model/test_model.py
    tests/engine/kspace/test_interpolation.py
    tests/engine/kspace/test_opposite.py
    tests/engine/model/test_spin_orbit_velocity.py
    tests/engine/build/test_pseudopotential.py
    tests/engine/model/test_harmonics.py
timeout_multiplier = 10
timeout_constant = 20
CONFIGURATION

# From the pseudopotential's D_ij (h_alpha) through W_alpha = P^+ h_alpha P and the spin frame to Hbar + xi V.
if [ $# -eq 0 ]; then
    set -- 'aiida_dmi.engine.quantities.dmi.*' 'aiida_dmi.engine.quantities.spin_current.*' \
        'aiida_dmi.engine.states.spinor*' 'aiida_dmi.engine.model.spin_frame.*' \
        'aiida_dmi.engine.model.wannier.*spin_orbit*' 'aiida_dmi.engine.model.wannier.*_weights*' \
        'aiida_dmi.engine.kspace.interpolation.*spin_*' \
        'aiida_dmi.engine.kspace.interpolation.*_commutator*' \
        'aiida_dmi.engine.kspace.interpolation.*exact_velocity*' 'aiida_dmi.engine.kspace.interpolation.*second_component*' \
        'aiida_dmi.engine.build.pseudopotential.*spin_orbit*' \
        'aiida_dmi.engine.model.harmonics.*angular_momentum*' 'aiida_dmi.engine.model.harmonics.*real_from_complex*'
fi
export OMP_NUM_THREADS=1
# mutmut repeats its line of progress for every mutant; its results say the rest.
mutmut run --max-children "$(nproc)" "$@" >run.log 2>&1 || { tail -c 2000 run.log; exit 1; }
mutmut results | grep -v 'not checked' || echo "every mutant was killed"
