"""The process below which all programs run, which ends them when the run is killed."""
