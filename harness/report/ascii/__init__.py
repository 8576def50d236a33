"""The timeline of a stage in 80 columns of ASCII, for terminals and mails."""
