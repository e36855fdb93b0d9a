"""The bridge's connections to providers.

provider_call     a planned call, and its response
provider_tunnel   a WebSocket
routes            a provider's configuration as a way there
transport         the HTTP client, behind httpx's interface
pool              connections in use and idle ones
connection        HTTP/1.1 over one connection
dialling          TCP (connecting), a proxy, TLS (tls)
socket_stream     a socket that is read only when somebody asks
failures          what can go wrong
"""
