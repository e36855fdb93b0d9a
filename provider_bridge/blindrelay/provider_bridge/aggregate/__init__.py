"""One address for many models: the bridge picks provider, credential and model by the name in the body.

config          [aggregate] and [[model]] of the configuration
model_table     public names, aliases and wildcards, and their targets
addresses       the paths of the aggregated address, in two dialects
"""
