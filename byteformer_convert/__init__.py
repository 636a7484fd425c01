"""Turns CoreNet ByteFormer checkpoints into folders that transformers loads, and proves that the numbers are equal.

YAML -> corenet.options    -> CoreNetOptions -> mapping.config, .processor -> config.json, preprocessor_config.json
.pt  -> corenet.checkpoint -> Checkpoint     -> mapping.weights            -> model.safetensors
both -> conversion         -> output.folder  -> a folder; parity compares it with `reference` on the raw .pt
report draws what the others return, cli parses and prints; bundled is copied as it stands into every folder.
"""

__version__ = "0.1.0"
