"""The programs from a container: configurations for podman, docker and apptainer, and the codes made from them."""
