"""The HF-format ByteFormer. Every other file here is copied, as it stands, into every converted folder."""
