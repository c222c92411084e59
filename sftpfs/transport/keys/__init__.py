"""Keys: of servers (known_hosts, the keys this mount was shown) and of ours."""
