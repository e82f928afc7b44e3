package broker

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// script is what a gang does, written as bytes. What is missing at its end is zero.
type script []byte

func (s *script) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

// bytes returns as many bytes as the next one says.
func (s *script) bytes() []byte {
	n := min(int(s.byte()), len(*s))
	b := (*s)[:n]
	*s = (*s)[n:]
	return b
}

// number returns a small number, or any.
func (s *script) number() uint64 {
	if b := s.byte(); b < 250 {
		return uint64(b)
	}
	var all [8]byte
	for i := range all {
		all[i] = s.byte()
	}
	return binary.BigEndian.Uint64(all[:])
}

// pick returns one of several.
func pick[T any](s *script, of ...T) T { return of[int(s.byte())%len(of)] }

// value returns a msgpack value, or bytes that may be none.
func (s *script) value() []byte {
	return pick(s, []byte{0x2a}, []byte{0x93, 1, 2, 3}, []byte("\xa5hello"), []byte{0xc0}, []byte{0x81, 1, 2}, s.bytes())
}

// gang is the guests of one input, who know of each other. Their kinds, by index:
const (
	guestSDK  = iota // a client with an SDK
	guestTwin        // another link of the same key and, if it likes, the same session
	guestDealer
	guestWorker
	guestREP
	guests
)

type gang struct {
	victim *victim
	t      *testing.T
	served sync.WaitGroup // one for each link, at the broker's end
	ended  sync.WaitGroup // one for each link, at the guest's end
	guests [guests]guest
}

// guest is one attacker and what it has learned.
type guest struct {
	link    *zmtp.Link
	numbers uint64 // of the calls that it has made
	batch   []byte // envelopes that leave together
	hold    int    // how many more to gather
	vain    int    // how often it has waited for a call in vain
	spoil   []byte // position and value of a byte that is wrong in the next envelope

	mu    sync.Mutex
	calls []given // guarded by mu
	drawn int     // how many of them it has looked at
}

// given is a call that the broker has assigned to a guest.
type given struct {
	token  uint64
	origin message.Origin
}

// most bounds the steps of a script.
const most = 200

// play does what the script says.
func (g *gang) play(s script) {
	for range most {
		if len(s) == 0 {
			return
		}
		op := s.byte()
		who := int(op>>4) % guests
		p := g.guest(who)
		if e := g.envelope(p, op&15, &s); e != nil {
			p.say(e)
			continue
		}
		switch op & 15 {
		case 0: // frames of any bytes
			frames := make([][]byte, 1+s.byte()%3)
			for i := range frames {
				frames[i] = s.bytes()
			}
			_ = p.link.Send(frames...)
		case 11:
			p.await()
		case 12:
			p.link.Close(nil)
			p.link = nil
		case 13:
			_ = p.link.Send(nil, p.request(&s))
		case 14:
			var token [8]byte
			binary.BigEndian.PutUint64(token[:], p.token(&s).token)
			_ = p.link.Send(token[:], nil, pick(&s, slices.Concat([]byte("\x81\xa6result"), s.value()),
				[]byte("\x81\xa5error\x82\xa4code\xa1x\xa7message\xa1y"), s.bytes()))
		case 15:
			p.hold = 1 + int(s.byte()%8)
		}
	}
}

// envelope returns the envelope of a step, nil if the step is none.
func (g *gang) envelope(p *guest, op byte, s *script) *message.Envelope {
	switch op {
	case 1:
		return &message.Envelope{Kind: message.KindAttach, ID: s.number(), Body: message.Marshal(&message.Attach{
			Session: message.SessionID{s.byte() % 3}, Name: string(s.bytes())})}
	case 2:
		r := message.Register{Worker: pick(s, "w", "good", "broker", ""), Concurrency: 1 + int(s.byte()%8), Busy: int(s.byte() % 4)}
		for mask := s.byte(); mask != 0; mask >>= 1 {
			if mask&1 != 0 {
				m := pick(s, message.Method{Name: "m"}, message.Method{Name: "n", Idempotent: true}, message.Method{Name: "s", Stream: true},
					message.Method{Name: "o", Aliases: []string{"m", "N"}}, message.Method{Name: fmt.Sprint("x", s.byte())})
				r.Methods = append(r.Methods, m)
			}
		}
		return &message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&r)}
	case 3:
		p.numbers += 1 + uint64(s.byte()&0x80)
		e := &message.Envelope{Kind: message.KindCall, ID: p.numbers, Flags: message.Flags(s.byte() & 7), Priority: message.Priority(s.byte() % 4),
			Timeout: time.Duration(s.byte()) * time.Millisecond, Method: []byte(g.method(s)), Key: pick(s, nil, []byte("k"), s.bytes())}
		e.Body = pick(s, message.AppendBody(nil, []byte{0x91, 1}, nil), slices.Concat(s.value(), s.value()), make([]byte, 1+int(s.byte())<<6))
		return e
	case 4, 5, 6, 7:
		c := p.token(s)
		e := &message.Envelope{Kind: message.KindResult - 4 + message.Kind(op), ID: c.token, Body: s.value()}
		switch how := s.byte(); {
		case op == 5 && how&1 == 0:
			e.Body = message.Errorf(pick(s, message.Application, message.BadArgs, message.ShuttingDown, message.Code(s.bytes())), "no").Append(nil)
		case op == 6:
			e.Sequence = s.number()
		case op == 7 && how&1 != 0:
			e.Flags = message.FlagClaim
		}
		if e.Flags != 0 || s.byte()&1 != 0 {
			e.Flags |= message.FlagOrigin
			e.Origin = pick(s, c.origin, message.Origin{Session: message.SessionID{s.byte() % 3}, Number: s.number()})
		}
		return e
	case 8:
		return &message.Envelope{Kind: pick(s, message.KindAck, message.KindCapacity, message.KindGrant, message.KindCancel),
			ID: s.number(), Sequence: s.number()}
	case 9:
		kind, flags := message.Kind(s.byte()%20), message.Flags(s.byte())
		if kind == message.KindCall {
			kind = message.KindBye
		}
		return &message.Envelope{Kind: kind, Flags: flags, ID: pick(s, s.number(), p.token(s).token), Body: s.bytes()}
	case 10:
		p.spoil = []byte{s.byte(), s.byte()}
	}
	return nil
}

// method returns a name to call: of the gang's methods, the innocent's, the
// broker's own, or none.
func (g *gang) method(s *script) string {
	name := pick(s, "m", "n", "s", "o", "N", "innocent_echo", "broker.ping", "broker.status", "broker.methods", "x"+fmt.Sprint(s.byte()), string(s.bytes()))
	if name == "" {
		return "m"
	}
	return name
}

// request returns the body of a plain request, or nearly one.
func (p *guest) request(s *script) []byte {
	b := []byte("\x86\xa6method")
	b = append(b, pick(s, "\xa1m", "\xa1n", "\xa1s", "\xadinnocent_echo", "\xacbroker.ping", "\xc0")...)
	b = append(append(b, "\xa4args"...), pick(s, []byte{0x91, 1}, s.value())...)
	b = append(append(b, "\xa6kwargs"...), pick(s, []byte{0x80}, s.value())...)
	b = append(append(b, "\xa2id"...), s.value()...)
	b = append(append(b, "\xa8priority"...), pick(s, "\xa6normal", "\xa4high", "\xa3low", "\x01")...)
	b = append(append(b, "\xa7timeout"...), pick(s, []byte{0xca, 0x3d, 0xcc, 0xcc, 0xcd}, []byte{1}, s.value())...)
	if i := int(s.byte()); i > 0 && i < len(b) {
		b[i] ^= s.byte()
	}
	return b
}

// guest returns the guest of that kind, who connects first if it is away.
func (g *gang) guest(who int) *guest {
	p := &g.guests[who]
	if p.link != nil && p.link.Cause() == nil {
		return p
	}
	sdk := zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}}
	role, socket := curve.RoleClient, "DEALER"
	switch who {
	case guestDealer:
		sdk = nil
	case guestWorker:
		role = curve.RoleWorker
	case guestREP:
		role, socket, sdk = curve.RoleWorker, "REP", nil
	}
	p.link = g.victim.admit(g.t, role, socket, sdk, &g.served)
	link := p.link
	g.ended.Go(func() { _ = link.Run(func(m *zmtp.Message) error { return p.learn(who, m) }) })
	return p
}

// learn notes the calls that the broker assigns.
func (p *guest) learn(who int, m *zmtp.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if who == guestREP && m.Len() > 1 && len(m.Frame(0)) == 8 {
		p.calls = append(p.calls, given{token: binary.BigEndian.Uint64(m.Frame(0))})
	}
	if who != guestWorker {
		return nil
	}
	var e message.Envelope
	for rest := m.Bytes(); len(rest) > 0; {
		var err error
		if rest, err = e.Next(rest); err != nil {
			return err
		}
		if e.Kind == message.KindCall {
			p.calls = append(p.calls, given{e.ID, e.Origin})
		}
	}
	return nil
}

// await waits a moment for a call that it has not looked at yet, but not often
// in vain.
func (p *guest) await() {
	if p.vain == 2 {
		return
	}
	for deadline := time.Now().Add(20 * time.Millisecond); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		p.mu.Lock()
		n := len(p.calls)
		if n > p.drawn {
			p.drawn = n
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
	p.vain++
}

// token returns an assigned call, counted from the last one, or a forged one.
func (p *guest) token(s *script) given {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := int(s.byte()); i < len(p.calls) {
		return p.calls[len(p.calls)-1-i]
	}
	return given{token: s.number()}
}

// say sends an envelope, unless it is gathered, and unspoiled only if it is not to be.
func (p *guest) say(e *message.Envelope) {
	start := len(p.batch)
	p.batch = e.Append(p.batch)
	if own := p.batch[start:]; p.spoil != nil {
		own[int(p.spoil[0])%len(own)] ^= p.spoil[1]
		p.spoil = nil
	}
	if p.hold > 0 {
		p.hold--
		return
	}
	_ = p.link.Send(p.batch)
	p.batch = nil
}

// leave ends all links, and waits until the broker has seen it.
func (g *gang) leave() {
	for i := range g.guests {
		if l := g.guests[i].link; l != nil {
			l.Finish()
		}
	}
	g.ended.Wait()
	g.served.Wait()
}

// seeds are scripts of which each goes one way through the protocol.
func seeds() []string {
	const (
		attach   = "\x01\x00\x00\x00"                                             // the session 0
		again    = "\x11\x00\x00\x00"                                             // the twin, the same session
		register = "\x32\x00\x01\x01\x07\x00\x00\x00\x01\x00\x02"                 // m, n and s, two calls at once of which one runs
		draw     = "\x3b"                                                         // the worker waits for a call,
		result   = "\x34\x00\x00\x00\x00\x00"                                     // answers it,
		failure  = "\x35\x00\x00\x00\x00\x00\x00\x00"                             // answers with an error,
		item     = "\x36\x00\x00\x00\x00\x00\x00"                                 // sends an item of a stream,
		progress = "\x37\x00\x00\x00\x00\x00"                                     // reports progress,
		claim    = "\x37\x00\x00\x00\x00\x01\x00\x01\x01"                         // claims call 1 of session 0
		own      = "\x34\x00\x00\x00\x00\x00\x01\x00\x01\x01"                     // and answers it
		plain    = "\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // a plain request
		rep      = "\x4b"                                                         // a REP worker waits for a call
		reply    = "\x4e\x00\x00\x00\x00\x00"                                     // and answers it
	)
	call := func(flags, method byte) string {
		return string([]byte{0x03, 0, flags, 0, 0, 0, 0, method, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	const ack, capacity, grant, cancel = 0, 1, 2, 3
	count := func(who, kind, id, sequence byte) string { return string([]byte{who<<4 | 8, kind, id, sequence}) }
	echo := call(0, 5)
	return []string{
		"",
		attach + register + call(0, 0) + draw + result + count(0, ack, 1, 0),
		attach + register + call(0, 0) + draw + failure + count(0, ack, 1, 0),
		attach + register + call(2, 2) + draw + item + item + count(0, grant, 1, 17) + item + result,
		attach + register + call(0, 0) + draw + progress + count(0, cancel, 1, 0) + result,
		attach + register + call(1, 1) + draw + "\x3c" + register + draw + result, // an idempotent call outlives its worker,
		attach + register + call(0, 0) + draw + "\x0c" + again + result,           // a session its link
		attach + register + call(4, 0) + claim + own + count(3, capacity, 0, 0),
		register + claim + attach + call(4, 0) + own + count(0, ack, 1, 0),
		attach + echo + call(0, 6) + call(0, 7) + call(0, 8), // the innocent's method, the broker's own
		register + plain + draw + result + rep + plain + reply,
		rep + plain + rep + reply,
		attach + "\x0f\x03" + echo + echo + echo + echo,     // in one message
		attach + "\x0a\x05\xff" + echo + "\x39\x0f\x00\x00", // a byte is wrong
		"\x00\x02\x03abc\x00\x01z" + "\x20\x01\x02\xff\xff\x00" + "\x30\x00\x10garbage garbage " + "\x40\x00\x01x",
	}
}
