"""The bridge's connections to providers.

provider_call     a planned call, and its response
provider_tunnel   a WebSocket
transport         HTTP requests to one provider
pool              connections in use and idle ones
connection        HTTP/1.1 over one connection
route             how a provider is reached: TCP (tcp), a proxy, TLS (tls)
socket_stream     a socket that is read only on request
failures          what can go wrong
"""
