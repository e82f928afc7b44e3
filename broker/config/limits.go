package config

import (
	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// ListenLimits returns what bounds the peers of a port until they are
// authenticated. Ports with one value share its slots.
func (c *Config) ListenLimits() zmtp.ListenLimits {
	return zmtp.ListenLimits{
		MaxUnauthenticated: c.Security.MaxUnauthenticated,
		MaxConnections:     c.Limits.MaxConnections,
		FailuresPerSecond:  c.Security.MaxFailedHandshakes,
		Slots:              zmtp.NewSlots(c.Security.CryptoSlots),
	}
}

// envelopeRoom is what a link takes above the largest body: its envelope, and
// the batch of less than 64 KiB behind which it came.
const envelopeRoom = 128 << 10

// LinkLimits returns what bounds one connection.
func (c *Config) LinkLimits() zmtp.Limits {
	return zmtp.Limits{
		HandshakeWait: c.Security.HandshakeTimeout,
		MaxMessage:    int(c.Limits.MaxMessage) + envelopeRoom,
		MaxFrames:     c.Limits.MaxFrames,
		AssemblyWait:  c.Limits.AssemblyTimeout,
		MaxPending:    int(c.Limits.SlowPeerBytes),
		WriteWait:     c.Limits.SlowPeerTimeout,
	}
}

// DispatchLimits returns what bounds the calls that are held.
func (c *Config) DispatchLimits() dispatch.Limits {
	return dispatch.Limits{
		CallsPerKey:   c.Limits.CallsPerKey,
		BytesPerKey:   c.Limits.BytesPerKey,
		Calls:         c.Limits.MaxCalls,
		Bytes:         c.Limits.MemoryBudget,
		MaxMessage:    int(c.Limits.MaxMessage),
		MaxAttempts:   c.Dispatch.MaxAttempts,
		NoWorkerGrace: c.Dispatch.NoWorkerGrace,
		ClientGrace:   c.Dispatch.ClientGrace,
		ClaimGrace:    c.Dispatch.ClaimGrace,
		KeepOutcome:   c.Dispatch.IdempotencyWindow,
		KeepBytes:     c.Dispatch.IdempotencyBytes,
	}
}
