package bfd

import (
	"net/netip"
	"time"
)

// transfer carries the state of a process to its successor. The same list of
// fields writes and reads, so that the two cannot disagree. A newer version
// appends fields; see handoverVersion.
type transfer struct {
	version uint16   // of the handover
	out     *encoder // writing
	in      *decoder // reading
}

func (t transfer) u8(p *uint8) {
	if t.out != nil {
		t.out.u8(*p)
	} else {
		*p = t.in.Uint8()
	}
}

func (t transfer) u16(p *uint16) {
	if t.out != nil {
		t.out.u16(*p)
	} else {
		*p = t.in.Uint16()
	}
}

func (t transfer) u32(p *uint32) {
	if t.out != nil {
		t.out.u32(*p)
	} else {
		*p = t.in.Uint32()
	}
}

func (t transfer) u64(p *uint64) {
	if t.out != nil {
		t.out.u64(*p)
	} else {
		*p = t.in.u64()
	}
}

func (t transfer) int(p *int) {
	v := uint32(*p)
	t.u32(&v)
	*p = int(int32(v))
}

func (t transfer) durations(list ...*time.Duration) {
	for _, p := range list {
		v := uint64(*p)
		t.u64(&v)
		*p = time.Duration(v)
	}
}

func (t transfer) bools(list ...*bool) {
	for _, p := range list {
		v := bit(*p, 1)
		t.u8(&v)
		*p = v != 0
	}
}

func (t transfer) addr(p *netip.Addr) {
	if t.out != nil {
		t.out.addr(*p)
	} else {
		*p = t.in.addr()
	}
}

func (t transfer) string(p *string) {
	if t.out != nil {
		t.out.string(*p)
	} else {
		*p = t.in.string()
	}
}

func (t transfer) config(p *SessionConfig) {
	if t.out != nil {
		t.out.config(p)
	} else {
		*p = t.in.config()
	}
}

// session is everything in a Session. Times are by CLOCK_MONOTONIC, the same in
// both processes.
func (t transfer) session(s *Session) {
	t.durations(&s.cfgTx, &s.cfgRx, &s.remoteTx, &s.remoteRx, &s.activeTx, &s.activeRx, &s.interval,
		&s.lastTx, &s.txAt, &s.slack, &s.lastRx, &s.silence, &s.fastTo, &s.since, &s.downSince)
	for _, p := range []*uint8{&s.mult, (*uint8)(&s.state), (*uint8)(&s.remoteState), (*uint8)(&s.diag), (*uint8)(&s.reason),
		(*uint8)(&s.remoteDiag), &s.remoteMult, (*uint8)(&s.downDiag), (*uint8)(&s.downReason), (*uint8)(&s.downRemote)} {
		t.u8(p)
	}
	t.bools(&s.passive, &s.independent, &s.remoteC, &s.demand, &s.poll, &s.pollAgain, &s.final, &s.echo)
	for _, p := range []*uint32{&s.discr, &s.remoteDiscr, &s.rng} {
		t.u32(p)
	}
	for _, p := range []*uint64{&s.downs, &s.sent, &s.recv, &s.refuse} {
		t.u64(p)
	}
	t.auth(s)
	if t.in != nil {
		s.restored()
	}
}

// auth is the authentication state; the keys come with the config.
func (t transfer) auth(s *Session) {
	used := s.auth != nil
	t.bools(&used)
	if !used {
		return
	}
	if s.auth == nil {
		s.auth = &authState{}
	}
	t.u32(&s.auth.txSeq)
	t.u32(&s.auth.rxSeq)
	t.bools(&s.auth.rxKnown)
	for i := range s.auth.last {
		t.u8(&s.auth.last[i])
	}
}

// socketID says what a descriptor that is handed over is.
type socketID struct {
	netns string // path of the namespace
	kind  uint8  // 0, 1: sender of IPv4, IPv6; 2: receiver; 3: listener
	rx    rxKey  // what a receiver is bound to
	space uint32 // version 2: namespaces are numbered, as two may have had the same path
}

func (t transfer) socket(s *socketID) {
	t.string(&s.netns)
	t.u8(&s.kind)
	t.rx(&s.rx)
	if t.version > 1 {
		t.u32(&s.space)
	}
}

func (t transfer) rx(k *rxKey) {
	t.bools(&k.ipv6)
	t.u16(&k.port)
	t.addr(&k.local)
	t.int(&k.ifindex)
}

// entryState is a session that is handed over.
type entryState struct {
	kept    SessionConfig // as last added
	local   netip.Addr    // source address
	sport   uint16        // source port
	link    int           // of an echo session's socket
	halen   uint8         // length of mac
	mac     [8]byte       // the neighbour's address, of an echo session
	session *Session      // its state machine
	// Version 2.
	attached bool   // it has sockets
	space    uint32 // number of its namespace
	rx       rxKey  // what its receiving socket is bound to
	by       int    // interface that it sends by
	from     int    // interface that it receives from
	self     bool   // its packets may come from this host
	failed   uint64 // downs that the failover has dealt with
}

func (t transfer) entry(s *entryState) {
	t.config(&s.kept)
	t.addr(&s.local)
	t.u16(&s.sport)
	t.int(&s.link)
	t.u8(&s.halen)
	for i := range s.mac {
		t.u8(&s.mac[i])
	}
	t.session(s.session)
	if t.version > 1 {
		t.bools(&s.attached)
		t.u32(&s.space)
		t.rx(&s.rx)
		t.int(&s.by)
		t.int(&s.from)
		t.bools(&s.self)
		t.u64(&s.failed)
	}
}

// client is a client and one session that it wants.
func (t transfer) client(name *string, c *SessionConfig) {
	t.string(name)
	t.config(c)
}
