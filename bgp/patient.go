package bgp

import (
	"context"
	"net"
	"time"
)

// patient keeps a connection over a path that failed open for longer than
// lingerTime, until the peer has taken our NOTIFICATION or its hold timer has ended
// the session.
//
// The kernel would go on retransmitting after a close, but answers whatever the
// peer sends by then with a reset. That has the system's TTL, not the socket's: with
// TTL security the peer drops it, goes on believing in the session, and some peers
// refuse every new one until their hold timer expires.
//
// The zero value is not patient.
type patient struct {
	ctx  context.Context // of Run, whose end ends the wait
	time time.Duration   // how long the wait may last; 0: no wait
	stop func() bool     // ends the watch on ctx; nil before the wait
}

// maxPatience bounds the wait for a peer that offered a long hold time, or none.
const maxPatience = 4 * time.Minute

// patience returns how long the end of a session may wait for the peer to read it.
func patience(hold time.Duration) time.Duration {
	if hold <= 0 || hold > maxPatience {
		return maxPatience
	}
	return hold
}

// hook makes the end of Run the end of the connection.
func (p *patient) hook(nc net.Conn) {
	if p.time > 0 {
		p.stop = context.AfterFunc(p.ctx, func() { nc.Close() })
	}
}

func (p *patient) unhook() {
	if p.stop != nil {
		p.stop()
	}
}

// wait lets the reader wait for the peer to close, once our half is closed.
func (p *patient) wait(nc net.Conn) {
	if p.time > 0 {
		nc.SetReadDeadline(time.Now().Add(p.time))
	}
}
