"""One address for many models: the bridge picks provider, credential and model by the name in the body.

router          who serves an exchange; every call to a provider begins here
config          [aggregate] and [[model]] of the configuration
model_table     public names, aliases and wildcards, and their targets
addresses       the paths of the aggregated address, in two dialects
planning        from a call of the aggregated address to the calls of its targets
brought         credentials that a client brings, one for each provider
model_body      exchanges the model in a body, which json_fields finds
agreement       what is agreed on with each target before it is asked: the price
attempts        one candidate after the other
choice          who is next: health, speed, weights, affinity
verdict         what a failure says
health          who rests after a failure
speed           who is slow
served          headers that say who answered
model_list      the list of models
local_response  responses that the bridge makes itself
"""
