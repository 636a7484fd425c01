"""Many conversions from one manifest: what to do, who does it, and what came of it."""
