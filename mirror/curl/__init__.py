"""httpx's transport on libcurl: connections, proxies, TLS and redirects, as curl has them."""
