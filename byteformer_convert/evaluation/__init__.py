"""How well a converted folder does on labelled files.

data -> sources -> classes (which row of the classifier is which) -> batching (files to byte ids, in workers)
     -> scoring (one forward pass per arithmetic) -> journal (what is done) -> tally -> result
engine runs it, on one process or on many that accelerate started; card writes the numbers into the folder.
"""
