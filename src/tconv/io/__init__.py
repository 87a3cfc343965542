"""Files: pictures, arrays, and outputs that appear whole or not at all."""
