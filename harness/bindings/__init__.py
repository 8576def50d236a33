"""The typed face of the compiled cffi modules: cdata and errno stop here."""
