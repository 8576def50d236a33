"""The root image that a guest boots from."""
