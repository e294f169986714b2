"""How a pipeline runs. Nothing here knows a provider or reads text.

engine       the state machine of every run: the laws are implemented here, without I/O
run, stream  its two drivers: over an iterable, and over a source
source       where items come from, and the deadlines on them
stage        stages, pipelines and `|`
function     functions as stages
hints        the classes that a stage takes and returns; errors about what is misplaced
checkpoint   the state of a run as plain data
describe     a pipeline as data and as a diagram
"""
