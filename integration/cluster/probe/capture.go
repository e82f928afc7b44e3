//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// heard is what a capture saw of TCP, by either port.
type heard struct {
	Bytes map[uint16]int `json:"bytes"` // of segments
	Clear int            `json:"clear"` // packets with the text in clear
}

const (
	everything = 0x0300 // ETH_P_ALL in network order
	ipv4Header = 14     // behind that of Ethernet
	tcpHeader  = 20     // least lengths
	ipTCP      = 6
)

// runCapture reads every packet of the network namespace until ctx ends, and
// looks for its argument in them.
func runCapture(ctx context.Context, args []string) (any, error) {
	if len(args) != 1 {
		return nil, errors.New("usage: probe capture TEXT")
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, everything)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	wait := syscall.NsecToTimeval(int64(100 * time.Millisecond))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait); err != nil {
		return nil, err
	}
	h := heard{Bytes: make(map[uint16]int)}
	packet := make([]byte, 1<<17)
	ready()
	for ctx.Err() == nil {
		n, _, err := syscall.Recvfrom(fd, packet, 0)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		h.take(packet[:n], []byte(args[0]))
	}
	return h, nil
}

// take counts one Ethernet frame.
func (h *heard) take(frame, text []byte) {
	if bytes.Contains(frame, text) {
		h.Clear++
	}
	if len(frame) < ipv4Header+tcpHeader+20 || frame[ipv4Header]>>4 != 4 || frame[ipv4Header+9] != ipTCP {
		return
	}
	segment := frame[ipv4Header+int(frame[ipv4Header]&15)*4:]
	if len(segment) < tcpHeader {
		return
	}
	h.Bytes[binary.BigEndian.Uint16(segment)] += len(segment)
	h.Bytes[binary.BigEndian.Uint16(segment[2:])] += len(segment)
}

// runShout sends its argument in clear to the broker, so that a capture proves
// that it would have heard it.
func runShout(ctx context.Context, args []string) (any, error) {
	if len(args) != 1 {
		return nil, errors.New("usage: probe shout TEXT")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", "broker:8006")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ready()
	if _, err = io.WriteString(conn, args[0]); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _ := io.Copy(io.Discard, conn) // until the broker has had enough
	return n, nil
}
