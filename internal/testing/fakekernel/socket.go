package fakekernel

import (
	"encoding/binary"
	"slices"

	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Socket is a netlink socket. Send and Receive are those of [rtnl.Conn]: Receive never
// waits. Its user learns from OnReady, or from Pending, that there is something to receive.
type Socket struct {
	// OnReady, if set, is called when something was queued that can be received now.
	OnReady func()
	// Slow says that each datagram of a dump is made when the one before is received, as Linux
	// does; without it a dump is what there was when it began. Then others may act meanwhile.
	Slow bool

	kernel  *Kernel
	port    uint32
	faults  *Faults
	groups  map[uint32]bool
	ignored []uint32 // ports whose notifications are dropped
	queue   []queued
	lost    bool           // the next Receive returns ENOBUFS
	dumping *dumping       // nil: no slow dump goes on
	entries []rtnl.Message // memory for the next dump,
	spare   []byte         // and for its next datagram
	closed  bool
}

// queued is a datagram, or what Receive fails with in its place.
type queued struct {
	datagram []byte
	err      unix.Errno
	dumped   bool // the datagram is used again
}

// Open makes a socket. Ports must differ, and 0 is the kernel's own. Programs change what
// goes wrong in faults, which may be nil and may be shared by several sockets.
func (k *Kernel) Open(port uint32, faults *Faults) *Socket {
	if faults == nil {
		faults = &Faults{}
	}
	s := &Socket{kernel: k, port: port, faults: faults, groups: map[uint32]bool{}}
	k.sockets = append(k.sockets, s)
	return s
}

// Port returns the port id.
func (s *Socket) Port() uint32 { return s.port }

// Join subscribes to groups of notifications (RTNLGRP_*).
func (s *Socket) Join(groups ...uint32) error {
	for _, g := range groups {
		s.groups[g] = true
	}
	return nil
}

// Ignore drops notifications of what the sockets with these ports do.
func (s *Socket) Ignore(ports ...uint32) error {
	s.ignored = append(s.ignored, ports...)
	return nil
}

// Close takes the socket out of the kernel. Send and Receive return EBADF then.
func (s *Socket) Close() error {
	s.Reset()
	s.closed = true
	s.kernel.sockets = slices.DeleteFunc(s.kernel.sockets, func(o *Socket) bool { return o == s })
	return nil
}

// Reset drops everything that is queued, as if the socket were new; groups stay.
func (s *Socket) Reset() { s.queue, s.lost, s.dumping = nil, false, nil }

// Overflow drops what is queued, as the kernel does with what does not fit into the receive
// buffer: the next Receive returns ENOBUFS.
func (s *Socket) Overflow() {
	s.queue, s.lost = nil, true
	s.ready()
}

// Pending returns how many datagrams are queued, late ones included.
func (s *Socket) Pending() int { return len(s.queue) }

// Queued returns the messages of some types that are queued, late ones included, without their headers.
// They are the socket's own.
func (s *Socket) Queued(types ...uint16) (bodies [][]byte) {
	for _, q := range s.queue {
		for m := range rtnl.Messages(q.datagram) {
			if slices.Contains(types, m.Type) {
				bodies = append(bodies, m.Body)
			}
		}
	}
	return bodies
}

// Overflowed reports whether something was dropped of which Receive has not told yet.
func (s *Socket) Overflowed() bool { return s.lost }

// Readable reports whether Receive returns something other than EAGAIN.
func (s *Socket) Readable() bool {
	return s.closed || !s.late() && (s.lost || len(s.queue) > 0)
}

// late reports whether what is queued cannot be received yet.
func (s *Socket) late() bool { return s.faults.Late && len(s.groups) > 0 }

func (s *Socket) ready() {
	if s.OnReady != nil && s.Readable() {
		s.OnReady()
	}
}

// Receive takes the next datagram.
func (s *Socket) Receive(b []byte) (int, error) {
	switch {
	case s.closed:
		return 0, unix.EBADF
	case s.late():
		return 0, unix.EAGAIN
	case s.lost:
		s.lost = false
		return 0, unix.ENOBUFS
	case len(s.queue) == 0:
		return 0, unix.EAGAIN
	}
	q := s.queue[0]
	s.queue = s.queue[1:]
	if s.dumping != nil && len(s.queue) == 0 {
		s.dumpMore()
	}
	if q.err != 0 {
		return 0, q.err
	}
	n := copy(b, q.datagram)
	if q.dumped {
		s.spare = q.datagram[:0]
	}
	return n, nil
}

// Wait returns an error: nobody waits for this kernel, whose answers are there at once.
func (s *Socket) Wait() error { return unix.EAGAIN }

// Dump is that of [rtnl.Socket].
func (s *Socket) Dump(request, buffer []byte, f func(datagram []byte) (done bool, err error)) error {
	return rtnl.Dump(s, request, buffer, f)
}

// Send carries out the requests in b one by one. As the kernel does, it answers those that
// fail, those with NLM_F_ACK, dumps, and requests for one object.
func (s *Socket) Send(b []byte) error {
	if s.closed {
		return unix.EBADF
	}
	for msg := range rtnl.Messages(b) {
		if msg.Flags&rtnl.NLM_F_DUMP == rtnl.NLM_F_DUMP && msg.Type&3 == 2 { // RTM_GET*
			s.dump(msg)
			continue
		}
		if msg.Type&3 == 2 {
			s.get(msg)
			continue
		}
		err := s.kernel.request(s.port, msg, s.faults)
		if err == 0 && msg.Flags&rtnl.NLM_F_ACK == 0 {
			continue
		}
		if s.faults.losesReply() {
			s.lost = true
			continue
		}
		s.answer(msg, err)
	}
	s.ready()
	return nil
}

// answer queues an NLMSG_ERROR: the negative errno and the header of the request.
func (s *Socket) answer(msg rtnl.Message, err unix.Errno) {
	body := binary.NativeEndian.AppendUint32(nil, uint32(-int32(err)))
	body = append(body, datagram(msg.Type, msg.Flags, msg.Seq, msg.Port, msg.Body)[:rtnl.SizeHeader]...)
	s.queue = append(s.queue, queued{datagram: datagram(rtnl.NLMSG_ERROR, rtnl.NLM_F_CAPPED, msg.Seq, s.port, body)})
}

// notified queues a notification.
func (s *Socket) notified(b []byte) {
	f := s.faults
	if f.Mute {
		return
	}
	if f.notifications++; f.LoseNotification > 0 && f.notifications%f.LoseNotification == 0 {
		s.lost = true
		f.Lost++
		return
	}
	s.queue = append(s.queue, queued{datagram: b})
	if f.Twice {
		s.queue = append(s.queue, queued{datagram: b})
	}
	s.ready()
}

// Faults is what goes wrong at the sockets that have it. The zero value is nothing. It may
// be changed at any time between calls.
type Faults struct {
	// Errno are answers to requests by type (RTM_*), and of the type 0 to all others. The
	// next ErrnoLeft requests that have one fail with it, and are not carried out.
	Errno     map[uint16]unix.Errno
	ErrnoLeft int
	// LoseReply N drops each Nth answer; the socket says ENOBUFS. 0 is none.
	LoseReply int

	// LoseNotification N drops each Nth notification; the socket says ENOBUFS. 0 is none.
	LoseNotification int
	// Lost counts the notifications that were dropped.
	Lost int
	// Late keeps notifications in the queue until it is false again. Then call Wake.
	Late bool
	// Twice delivers each notification twice.
	Twice bool
	// Mute drops notifications without a word: the kernel has not sent them.
	Mute bool

	// Interrupted is how many of the next dumps of a type (RTM_GET*) are marked as
	// interrupted (NLM_F_DUMP_INTR). Those of more than one datagram lack an entry, but for
	// those of next-hop objects.
	Interrupted map[uint16]int
	// DumpErrno is what the next DumpErrors dumps fail with in the middle.
	DumpErrno  unix.Errno
	DumpErrors int

	notifications, replies int
}

// Wake calls OnReady of the sockets that have something to receive, after a change of
// their faults.
func (k *Kernel) Wake() {
	for _, s := range k.sockets {
		s.ready()
	}
}

// answer returns how the next request of a type fails, 0 if it does not.
func (f *Faults) answer(typ uint16) unix.Errno {
	if f == nil || f.ErrnoLeft == 0 {
		return 0
	}
	e, ok := f.Errno[typ]
	if !ok {
		e = f.Errno[0]
	}
	if e != 0 {
		f.ErrnoLeft--
	}
	return e
}

func (f *Faults) losesReply() bool {
	f.replies++
	return f.LoseReply > 0 && f.replies%f.LoseReply == 0
}

// dumpFails returns the error that the next dump ends with, 0 for none.
func (f *Faults) dumpFails() unix.Errno {
	if f.DumpErrors == 0 {
		return 0
	}
	f.DumpErrors--
	return f.DumpErrno
}

// dumpFlags returns the flags of the datagrams of the next dump of a type.
func (f *Faults) dumpFlags(typ uint16) uint16 {
	if f.Interrupted[typ] == 0 {
		return rtnl.NLM_F_MULTI
	}
	f.Interrupted[typ]--
	return rtnl.NLM_F_MULTI | rtnl.NLM_F_DUMP_INTR
}
