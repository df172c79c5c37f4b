"""Who may read what: rules, users, keys of links, and the files they are kept in. No sockets, no
Twisted: the daemon reads these files, and commands write them."""
