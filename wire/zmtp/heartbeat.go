package zmtp

import "time"

// Beat looks after a link's liveness. It sends a PING when an interval has passed
// in which nothing came or nothing was sent, and ends the link when nothing came
// for dead, or when a message has been unfinished for too long. Any byte counts
// as life. It returns when the owner is to call it again, an interval from now at
// most: what it does is late by as much as the call is.
func (l *Link) Beat(now time.Time, interval, dead time.Duration) (next time.Duration) {
	at := int64(now.Sub(epoch))
	silent := time.Duration(at - l.lastRead.Load())
	if ttl := time.Duration(l.peerTTL.Load()); ttl > 0 {
		dead = min(dead, max(ttl, interval))
	}
	if silent >= dead {
		l.Close(ErrSilent)
		return interval
	}
	next = min(dead-silent, interval)
	if began := l.partial.Load(); began != 0 {
		left := l.limits.AssemblyWait - time.Duration(at-began)
		if left < 0 {
			l.Close(ErrIncomplete)
			return interval
		}
		next = min(next, left)
	}
	unused := time.Duration(at - l.lastWrite.Load())
	if int64(unused) > busyPause {
		l.retire()
	}
	if silent >= interval || unused >= interval {
		l.Ping(dead)
	} else {
		next = min(next, interval-silent, interval-unused)
	}
	return max(next, time.Millisecond)
}

// Ping sends a PING that asks the peer to give up this link after ttl of silence.
func (l *Link) Ping(ttl time.Duration) {
	deciseconds := min(ttl/(100*time.Millisecond), MaxPingTTL)
	_ = l.sendCommand(AppendPing(nil, uint16(deciseconds), nil)) // a dead link has its own cause
}

// heed keeps the TTL of the peer's PING, RFC 37 "heartbeating": after that
// silence the peer itself is gone.
func (l *Link) heed(deciseconds uint16) {
	l.peerTTL.Store(int64(deciseconds) * int64(100*time.Millisecond))
}
