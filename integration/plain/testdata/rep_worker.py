"""A worker without an SDK: a REP socket and a dictionary of functions."""
import os
import sys

import msgpack
import zmq
import zmq.auth

keys, endpoint = sys.argv[1:]
worker = zmq.Context.instance().socket(zmq.REP)
worker.curve_publickey, worker.curve_secretkey = zmq.auth.load_certificate(
    os.path.join(keys, 'private_keys', 'worker.key_secret'))
worker.curve_serverkey, _ = zmq.auth.load_certificate(
    os.path.join(keys, 'public_keys', 'server.key'))
worker.connect(endpoint)

methods = {
    'py_sum': lambda *numbers: sum(numbers),
    'py_greet': lambda name='nobody': 'hello ' + name,
}
while True:
    request = msgpack.unpackb(worker.recv())
    try:
        result = methods[request['method']](*request['args'], **request['kwargs'])
        reply = {'result': result}
    except Exception as e:
        reply = {'error': {'code': 'application', 'message': repr(e)}}
    worker.send(msgpack.packb(reply))
