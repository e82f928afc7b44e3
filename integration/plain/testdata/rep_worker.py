"""A worker without an SDK: a REP socket and a dictionary of functions.

It is started with --config_file=PATH, by hand or by a broker, which lends it in the
environment what the file leaves open.
"""
import argparse
import configparser
import os

import msgpack
import zmq
import zmq.auth

parser = argparse.ArgumentParser()
parser.add_argument('--config_file', required=True)
config = configparser.ConfigParser(interpolation=None)
config.read(parser.parse_args().config_file)


def setting(key):
    value = os.environ.get('SERVICETOOLS_MAIN_' + key.upper()) or config.get('main', key, fallback=None)
    if value in (None, '', 'None'):
        raise SystemExit('[main] {} is missing'.format(key))
    return value


worker = zmq.Context.instance().socket(zmq.REP)
worker.curve_publickey, worker.curve_secretkey = zmq.auth.load_certificate(
    os.path.join(setting('secret_keys_dir'), 'worker.key_secret'))
worker.curve_serverkey, _ = zmq.auth.load_certificate(
    os.path.join(setting('public_keys_dir'), 'server.key'))
worker.connect('tcp://{}:{}'.format(setting('ip'), setting('port')))

methods = {
    'py_sum': lambda *numbers: sum(numbers),
    'py_greet': lambda name='nobody': 'hello ' + name,
    'py_exit': os._exit,
}
while True:
    request = msgpack.unpackb(worker.recv())
    try:
        result = methods[request['method']](*request['args'], **request['kwargs'])
        reply = {'result': result}
    except Exception as e:
        reply = {'error': {'code': 'application', 'message': repr(e)}}
    worker.send(msgpack.packb(reply))
