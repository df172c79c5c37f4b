"""The manual, made of the tables of options that the programs themselves read: pages for man(1),
completions for shells, and the reference in docs/. `python -m tcpdl.manual FOLDER` writes them."""
