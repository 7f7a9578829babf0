"""The whole way from source to report, as steps that do only what is missing."""
