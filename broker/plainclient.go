package broker

import (
	"encoding/binary"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// plainClient is the link of a client without an SDK: a REQ or DEALER that
// sends request maps. Its session lives as long as the link. What has to be put
// in front of the reply, the envelope's frames and the echoed id, travels
// through the dispatcher as the call's tag.
type plainClient struct {
	broker  *Broker
	link    *zmtp.Link
	session *dispatch.Session
	who     identity

	// Owned by the read loop.
	body []byte // of the last call; reused
	tag  []byte // of the last call; reused
}

// serve reads the link to its end.
func (c *plainClient) serve() error {
	c.session = c.broker.dispatcher.Open(c.who.client("", c))
	err := c.link.Run(c.receive)
	c.session.Close(c)
	return err
}

// receive handles one message: [envelope, empty frame,] request map.
func (c *plainClient) receive(m *zmtp.Message) error {
	first := requestFrame(m)
	r, refusal := message.ParseRequest(m.Frame(first))
	if first != m.Len()-1 {
		refusal = message.Errorf(message.Malformed, "the request has %d frames; send one msgpack map, behind an empty frame if an envelope precedes it", m.Len()-first)
	}
	tag, fits := appendTag(c.tag[:0], m, first, r.ID)
	c.tag = tag
	if !fits {
		refusal = message.Errorf(message.TooLarge, "the envelope in front of the request exceeds %d bytes", maxEnvelope)
	}
	if refusal != nil {
		c.reply(c.tag, message.KindError, refusal.Append(nil))
		return nil
	}
	c.body = message.AppendBody(c.body[:0], r.Args, r.Kwargs)
	c.broker.audit.command(&c.who, r.Method, c.body)
	err := breach(c.session.Submit(&dispatch.Request{
		Method:     r.Method,
		Body:       c.body,
		Timeout:    r.Timeout,
		Priority:   r.Priority,
		Idempotent: r.Idempotent,
		Key:        r.IdempotencyKey,
		Tag:        c.tag,
	}))
	if cap(c.body) > maxKeptBody {
		c.body = nil
	}
	return err
}

// maxKeptBody is the largest buffer that a quiet plain link keeps for its next request.
const maxKeptBody = 4 << 10

// maxEnvelope bounds the frames in front of a request, each with two bytes for
// its length, since they are held until the reply.
const maxEnvelope = 1 << 10

// requestFrame returns the index of the frame behind the envelope, which ends
// with the first empty frame. Without one there is no envelope.
func requestFrame(m *zmtp.Message) int {
	for i := range m.Len() - 1 {
		if len(m.Frame(i)) == 0 {
			return i + 1
		}
	}
	return 0
}

// appendTag packs what the reply needs: the count of envelope frames, those
// before the first one of the request, each with its length, and the id. It
// reports whether the envelope is small enough.
func appendTag(dst []byte, m *zmtp.Message, first int, id []byte) (tag []byte, fits bool) {
	size := 0
	for i := range first {
		size += 2 + len(m.Frame(i))
	}
	if size > maxEnvelope || first > 255 {
		return append(dst, 0), false
	}
	dst = append(dst, byte(first))
	for i := range first {
		f := m.Frame(i)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(f)))
		dst = append(dst, f...)
	}
	return append(dst, id...), true
}

// splitTag is the reverse of appendTag; frames are appended to dst.
func splitTag(dst [][]byte, tag []byte) (frames [][]byte, id []byte) {
	n := int(tag[0])
	tag = tag[1:]
	for range n {
		size := binary.BigEndian.Uint16(tag)
		dst = append(dst, tag[2:2+size])
		tag = tag[2+size:]
	}
	if len(tag) == 0 {
		return dst, nil
	}
	return dst, tag
}

// reply sends the reply map of one outcome.
func (c *plainClient) reply(tag []byte, kind message.Kind, body []byte) {
	var room [4][]byte
	frames, id := splitTag(room[:0], tag)
	var reply []byte
	if kind == message.KindResult {
		reply = message.AppendResult(make([]byte, 0, len(body)+len(id)+32), id, body)
	} else {
		reply = message.AppendError(make([]byte, 0, len(body)+len(id)+32), id, body)
	}
	_ = c.link.Send(append(frames, reply)...) // a dead link has its own end
}

// Attached implements dispatch.ClientSink.
func (c *plainClient) Attached(bool, uint64) {}

// Outcome implements dispatch.ClientSink. Nobody acknowledges it: what a plain
// client has not read when its connection ends is lost to it.
func (c *plainClient) Outcome(o *dispatch.Outcome) { c.reply(o.Tag, o.Kind, o.Body) }

// Part implements dispatch.ClientSink. A plain client asks for no streams.
func (c *plainClient) Part(uint64, []byte, uint64, []byte) {}

// Attempt implements dispatch.ClientSink.
func (c *plainClient) Attempt(uint64, uint8) {}

// Progress implements dispatch.ClientSink.
func (c *plainClient) Progress(uint64, []byte, []byte) {}

// Close implements dispatch.ClientSink.
func (c *plainClient) Close(*message.Error) { c.link.Finish() }
