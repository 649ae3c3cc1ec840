"""What `sdk_server.py` drives: one application in every shape, and a client that costs little."""
