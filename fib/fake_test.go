package fib

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
	"golang.org/x/sys/unix"
)

// fake is a fake kernel behind a lock, with the sockets of a FIB. What is done to it by
// others happens between two calls of these sockets. TestFakeKernel plays the same against
// the kernel itself.
type fake struct {
	mu sync.Mutex
	*fakekernel.Kernel
	faults                   fakekernel.Faults // of the FIB's sockets
	commands, monitor, dumps *fakekernel.Socket
	audits                   *fakekernel.Socket
	ready                    map[*fakekernel.Socket]chan struct{} // capacity 1

	writes   []string // what the FIB asked for and what came of it, in words
	count    int      // of the messages that the FIB has sent
	orphans  int      // routes that the FIB took away with the deletion of a next hop
	calls    int      // of the FIB's sockets
	due      []deed
	closed   bool
	running  bool   // a FIB: it sees what others do
	everLost bool   // a notification
	silent   bool   // something was done that was never notified
	guard    *guard // nil: nobody watches what the FIB does
}

// monitored are the groups of what is compared.
var monitored = []uint32{rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR, rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE,
	rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE, rtnl.RTNLGRP_NEIGH, rtnl.RTNLGRP_NEXTHOP}

// deed is what another program does at a certain moment of the FIB's doing.
type deed struct {
	call int // before this call of a socket
	do   func()
}

// fakePort is the port id of the FIB's socket for commands, and otherPort that of another
// program's.
const (
	fakePort  = 1000
	otherPort = 4711
)

func newFake() *fake {
	m := &fake{Kernel: fakekernel.New(), ready: map[*fakekernel.Socket]chan struct{}{}}
	m.faults.Interrupted = map[uint16]int{}
	m.OnRequest, m.OnChange = m.requested, m.changed
	for i, s := range []**fakekernel.Socket{&m.commands, &m.monitor, &m.dumps, &m.audits} {
		ready := make(chan struct{}, 1)
		*s = m.Kernel.Open(uint32(fakePort+i), &m.faults)
		m.ready[*s] = ready
		(*s).OnReady = func() { poke(ready) }
	}
	m.audits.Slow = true
	_ = m.monitor.Ignore(fakePort)
	for i, name := range []string{"v0", "v1", "v2"} {
		m.CreateLink(i+2, name)
		m.defaultAddresses(name)
	}
	_ = m.monitor.Join(append(slices.Clone(monitored), rtnl.RTNLGRP_LINK)...)
	return m
}

// poke wakes who waits for c, or will.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// requested notes what the FIB asks for.
func (m *fake) requested(port uint32, msg rtnl.Message, err unix.Errno) {
	if port != fakePort {
		return
	}
	s := m.Describe(msg)
	if err != 0 {
		s += ": " + err.Error()
	}
	m.writes = append(m.writes, s)
}

// changed counts what the FIB should not do, and shows the guard what is done.
func (m *fake) changed(c fakekernel.Change) {
	if c.Port == fakePort && c.Cascade && c.OldRoute != nil {
		m.orphans++
	}
	if m.guard != nil {
		m.guard.changed(c)
	}
}

// defaultAddresses gives an interface the addresses that make its gateways on-link.
func (m *fake) defaultAddresses(name string) {
	for _, p := range uplinkAddresses(name) {
		m.AddAddress(m.Index(name), p)
	}
}

// uplinkAddresses are 10.0.N.1/24, 10.100.N.1/24 and fd0N::1/64 of vN.
func uplinkAddresses(name string) []netip.Prefix {
	n := name[len(name)-1] - '0'
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, n, 1}), 24), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, n, 1}), 24),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, n, 15: 1}), 64)}
}

func (m *fake) index(name string) int { return m.Index(name) }

func (m *fake) objects() (ids []uint32) {
	for _, h := range m.NextHops() {
		ids = append(ids, h.ID)
	}
	return ids
}

// by lets another program send a message.
func (m *fake) by(port uint32, b []byte) (err unix.Errno) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Do(port, b)
}

// setLink, deleteLink and createLink are those of the kernel, under the lock.
func (m *fake) setLink(name string, admin, carrier bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.SetLink(name, admin, carrier)
}

func (m *fake) deleteLink(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.DeleteLink(name)
}

func (m *fake) createLink(index int32, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.CreateLink(int(index), name)
}

// state is all routes, with groups resolved to gateways.
func (m *fake) state() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.State()
}

// lost reports whether the FIB may not have been notified of all.
func (m *fake) lost() bool { return m.everLost || m.silent || m.faults.Lost > 0 }

// called does what others do at this moment.
func (m *fake) called() {
	m.mu.Lock()
	m.calls++
	var now []deed
	m.due = slices.DeleteFunc(m.due, func(d deed) bool {
		if d.call <= m.calls {
			now = append(now, d)
			return true
		}
		return false
	})
	m.mu.Unlock()
	for _, d := range now {
		d.do()
	}
}

// fakeSocket is one of the sockets of a FIB.
type fakeSocket struct {
	*fake
	socket *fakekernel.Socket
}

func (s fakeSocket) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, c := range s.ready {
		poke(c)
	}
	return nil
}

func (s fakeSocket) Send(b []byte) error {
	s.called()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket == s.audits { // the request of a dump
		return s.socket.Send(b)
	}
	for msg := range rtnl.Messages(b) {
		n := rtnl.Align(rtnl.SizeHeader + len(msg.Body))
		if s.count++; s.guard != nil && s.guard.message() {
			return unix.EBADF
		}
		if err := s.socket.Send(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (s fakeSocket) Receive(b []byte) (int, error) {
	if s.socket == s.monitor || s.socket == s.audits {
		s.called()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket == s.monitor && s.guard != nil && s.guard.call() {
		return 0, unix.EBADF
	}
	return s.socket.Receive(b)
}

// Dump answers one request. Between two datagrams others may act.
func (s fakeSocket) Dump(request, buffer []byte, f func(b []byte) (bool, error)) error {
	s.called()
	s.mu.Lock()
	s.socket.Reset() // what an earlier dump that failed has left
	err := s.socket.Send(request)
	s.mu.Unlock()
	for err == nil {
		s.mu.Lock()
		n, e := s.socket.Receive(buffer)
		s.mu.Unlock()
		if err = e; err != nil {
			break
		}
		done := false
		if done, err = f(buffer[:n]); done {
			break
		}
		s.called()
	}
	return err
}

// Wait lets time pass for what waits for a socket.
func (s fakeSocket) Wait() error {
	for {
		s.mu.Lock()
		closed, readable := s.closed, s.socket.Readable()
		s.mu.Unlock()
		switch {
		case closed:
			return unix.EBADF
		case readable:
			return nil
		}
		select {
		case <-s.ready[s.socket]:
		case <-time.After(time.Hour):
		}
	}
}

// newFakeFIB is a FIB over a fake kernel, not running.
func newFakeFIB(config Config, m *fake) *FIB {
	f, err := New(config)
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	m.closed = false
	for s := range m.ready {
		s.Reset() // new sockets
	}
	m.mu.Unlock()
	return f
}

// handles are those of a FIB.
func (m *fake) handles() kernel.Handles {
	return kernel.Handles{Commands: fakeSocket{m, m.commands}, Monitor: fakeSocket{m, m.monitor}, Dumps: fakeSocket{m, m.dumps}, Audits: fakeSocket{m, m.audits}}
}

// Open implements kernel.Kernel.
func (m *fake) Open(string, ...uint8) (kernel.Handles, error) { return m.handles(), nil }

// opener implements kernel.Kernel.
type opener func(netns string, protocols ...uint8) (kernel.Handles, error)

func (o opener) Open(netns string, protocols ...uint8) (kernel.Handles, error) {
	return o(netns, protocols...)
}

// stillFIB is a FIB over a fake kernel whose owner has no goroutine: tests call it.
func stillFIB(config Config, m *fake) (*FIB, *owner) {
	f := newFakeFIB(config, m)
	return f, newOwner(f, m.handles())
}
