package hostile

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/servicetools/servicetools/wire/curve"
)

// raw is an attacker's connection: CURVE written down a second time, by hand,
// so that every byte of it can be wrong.
type raw struct {
	net.Conn
	server    [32]byte // S
	own, ownT [32]byte // c, c'
	pub, pubT [32]byte // C, C'
	serverT   [32]byte // S'
	cookie    []byte
	session   [32]byte // between C' and S'
	nonce     uint64
}

// sources numbers the attackers' addresses in 127.0.0.0/8, which Linux has all:
// the limit on failures of one address would else hide what lies behind it.
var sources atomic.Uint32

func source() *net.TCPAddr {
	n := sources.Add(1)
	return &net.TCPAddr{IP: net.IPv4(127, byte(1+n>>14%200), byte(n>>7%128), byte(1+n%128))}
}

// connect opens a connection from an address of its own.
func connect(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: source()}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetLinger(0) // no ports in TIME_WAIT
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, nil
}

var greeting = append([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x03\x01CURVE"), make([]byte, 47)...)

// open connects and exchanges greetings.
func (tg *target) open(ctx context.Context, address, key string) (*raw, error) {
	conn, err := connect(ctx, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_ = stop // the connection outlives this call, and ends with ctx
	r := &raw{Conn: conn, server: tg.secret("server").Public(), own: rawSecret(tg.secret(key)), pub: tg.secret(key).Public()}
	pub, sec, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	r.pubT, r.ownT = *pub, *sec
	if _, err := conn.Write(greeting); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, make([]byte, 64)); err != nil {
		return nil, err
	}
	return r, nil
}

// rawSecret decodes the Z85 form of a secret key, RFC 32.
func rawSecret(k curve.SecretKey) (secret [32]byte) {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
	text := k.RevealZ85()
	for i := range 8 {
		var word uint32
		for _, c := range text[5*i : 5*i+5] {
			word = word*85 + uint32(strings.IndexRune(digits, c))
		}
		binary.BigEndian.PutUint32(secret[4*i:], word)
	}
	return secret
}

func (r *raw) short(prefix string) (n [24]byte) {
	r.nonce++
	copy(n[:], prefix)
	binary.BigEndian.PutUint64(n[16:], r.nonce)
	return n
}

func (r *raw) hello() []byte {
	n := r.short("CurveZMQHELLO---")
	m := append([]byte("\x05HELLO\x01\x00"), make([]byte, 72)...)
	m = append(append(m, r.pubT[:]...), n[16:]...)
	return box.Seal(m, make([]byte, 64), &n, &r.server, &r.ownT)
}

// welcome reads WELCOME.
func (r *raw) welcome() error {
	body, err := r.read()
	if err != nil {
		return err
	}
	if len(body) != 168 {
		return fmt.Errorf("WELCOME is %q", body)
	}
	var n [24]byte
	copy(n[:], "WELCOME-")
	copy(n[8:], body[8:24])
	plain, ok := box.Open(nil, body[24:], &n, &r.server, &r.ownT)
	if !ok {
		return errors.New("WELCOME does not open")
	}
	copy(r.serverT[:], plain)
	r.cookie = plain[32:]
	box.Precompute(&r.session, &r.serverT, &r.ownT)
	return nil
}

const dealer = "\x0bSocket-Type\x00\x00\x00\x06DEALER"

// initiate vouches for metadata.
func (r *raw) initiate(metadata string) []byte {
	var vn [24]byte
	copy(vn[:], "VOUCH---")
	_, _ = rand.Read(vn[8:])
	vouch := box.Seal(nil, append(r.pubT[:32:32], r.server[:]...), &vn, &r.serverT, &r.own)
	plain := append(append(append(r.pub[:32:32], vn[8:]...), vouch...), metadata...)
	n := r.short("CurveZMQINITIATE")
	m := append(append([]byte("\x08INITIATE"), r.cookie...), n[16:]...)
	return box.SealAfterPrecomputation(m, plain, &n, &r.session)
}

// message seals one frame.
func (r *raw) message(flags byte, body []byte) []byte {
	n := r.short("CurveZMQMESSAGEC")
	m := append([]byte("\x07MESSAGE"), n[16:]...)
	return box.SealAfterPrecomputation(m, append([]byte{flags}, body...), &n, &r.session)
}

// frame puts a header before a body.
func frame(flags byte, body []byte) []byte {
	if len(body) < 256 {
		return append([]byte{flags, byte(len(body))}, body...)
	}
	return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(body))), body...)
}

func (r *raw) command(body []byte) error {
	_, err := r.Write(frame(4, body))
	return err
}

func (r *raw) send(flags byte, body []byte) error {
	_, err := r.Write(frame(0, r.message(flags, body)))
	return err
}

// read returns the body of the next frame.
func (r *raw) read() ([]byte, error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	body := make([]byte, min(size, 32<<20))
	_, err := io.ReadFull(r, body)
	return body, err
}

// meet opens a connection and goes on to the end of WELCOME.
func (tg *target) meet(ctx context.Context, address, key string) (*raw, error) {
	r, err := tg.open(ctx, address, key)
	if err == nil {
		err = r.command(r.hello())
	}
	if err == nil {
		err = r.welcome()
	}
	return r, err
}

// enter performs a whole handshake.
func (tg *target) enter(ctx context.Context, address, key, metadata string) (*raw, error) {
	r, err := tg.meet(ctx, address, key)
	if err == nil {
		err = r.command(r.initiate(metadata))
	}
	if err == nil {
		err = r.ready()
	}
	return r, err
}

// ready reads READY; anything else is an error.
func (r *raw) ready() error {
	body, err := r.read()
	if err == nil && !strings.HasPrefix(string(body), "\x05READY") {
		err = fmt.Errorf("got %q instead of READY", body[:min(len(body), 20)])
	}
	return err
}

// expelled reports an error unless the target ends the connection without a
// byte that r could use: an ERROR command is all that it may say.
func (r *raw) expelled() error {
	body, err := r.read()
	if err == nil && strings.HasPrefix(string(body), "\x05ERROR") {
		_, err = r.read()
	}
	if err == nil {
		return fmt.Errorf("it got %q", body[:min(len(body), 20)])
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return errors.New("it is still connected")
	}
	return nil
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
