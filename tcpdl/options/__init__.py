"""The daemon's options, a module for each subject; `options.daemon` puts them together."""
