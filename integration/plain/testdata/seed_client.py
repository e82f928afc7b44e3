"""The client of the Python library's documentation, with msgpack instead of pickle."""
import os
import sys

import msgpack
import zmq
import zmq.auth


class Message(object):

    def __init__(self, *args, **kwargs):

        self.method = kwargs.get('method', None)
        self.args = kwargs.get('args', list())
        self.kwargs = kwargs.get('kwargs', dict())


keys, endpoint = sys.argv[1:]

ctx = zmq.Context.instance()
client = ctx.socket(zmq.REQ)

client_public, client_secret = zmq.auth.load_certificate(
    os.path.join(keys, 'private_keys', 'client.key_secret'))
server_public, _ = zmq.auth.load_certificate(
    os.path.join(keys, 'public_keys', 'server.key'))
client.curve_secretkey = client_secret
client.curve_publickey = client_public
client.curve_serverkey = server_public

client.connect(endpoint)

message = Message(method='return_non_sense')
client.send(msgpack.packb(vars(message)))
return_value = msgpack.unpackb(client.recv())
print(return_value['result'])
