package bfd

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// fakeProc is a process on a fakeNet: the host of a Server or a Client.
type fakeProc struct {
	net   *fakeNet
	name  string
	dead  bool
	fds   map[int]any // *fakeSocket or *fakeListener
	next  int
	seed  uint32
	ends  []*fakeStream
	ports []*fakePoller
	most  int // descriptors that it may have

	// What becomes of its next connection after so many octets, read or written; 0: nothing.
	after int
	stall time.Duration // it says and hears nothing for so long; 0: the process is killed
}

func (n *fakeNet) process(name string, seed uint32) *fakeProc {
	return &fakeProc{net: n, name: name, fds: map[int]any{}, next: 3, seed: seed | 1, most: 1000}
}

// install gives an object a descriptor; the lock is held.
func (p *fakeProc) install(object any) (int, error) {
	if len(p.fds) >= p.most {
		return -1, unix.EMFILE
	}
	ref(object, 1)
	p.next++
	p.fds[p.next] = object
	return p.next, nil
}

// drop takes a descriptor away; the lock is held.
func (p *fakeProc) drop(fd int) {
	switch o := p.fds[fd].(type) {
	case *fakeSocket:
		if o.refs--; o.refs == 0 {
			delete(o.ns.sockets, o)
		}
	case *fakeListener:
		if o.refs--; o.refs == 0 {
			o.ring()
		}
	}
	delete(p.fds, fd)
}

func (n *fakeNet) isDead(p *fakeProc) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return p.dead
}

// kill is kill -9.
func (p *fakeProc) kill() {
	p.net.mu.Lock()
	p.dead = true
	for fd := range p.fds {
		p.drop(fd)
	}
	ends := p.ends
	for _, l := range p.net.files {
		l.ring()
	}
	for _, poller := range p.ports {
		poller.ring()
	}
	p.net.mu.Unlock()
	for _, s := range ends {
		s.Close()
	}
}

func (p *fakeProc) clock() (clock, error) {
	return newClock(p.net.mono + time.Since(scenario.Epoch)), nil
}

func (p *fakeProc) random() uint32 {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.seed = xorshift(p.seed)
	return p.seed
}

func (p *fakeProc) poller() (poller, error) {
	if err := p.net.failed("poller"); err != nil {
		return nil, err
	}
	f := &fakePoller{proc: p, bell: make(chan struct{}, 1)}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.ports = append(p.ports, f)
	return f, nil
}

func (p *fakeProc) namespace(path string) (namespace, error) {
	if err := p.net.failed("namespace"); err != nil {
		return nil, err
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	ns := p.net.paths[path]
	if ns == nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return &fakeNamespace{p, ns}, nil
}

func (p *fakeProc) namespaceOf(fd int, path string) (namespace, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if s, ok := p.fds[fd].(*fakeSocket); ok {
		return &fakeNamespace{p, s.ns}, nil
	}
	return nil, unix.EBADF
}

func (p *fakeProc) closeFD(fd int) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.drop(fd)
}

func (p *fakeProc) listener(fd int) (listener, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if l, ok := p.fds[fd].(*fakeListener); ok {
		return &fakeAcceptor{p, l, fd, false}, nil
	}
	return nil, unix.EBADF
}

// listen makes a listener at path, as net.ListenUnix does.
func (p *fakeProc) listen(path string) (listener, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if l := p.net.files[path]; l != nil {
		return nil, unix.EADDRINUSE
	}
	l := &fakeListener{path: path, bell: make(chan struct{}, 1)}
	p.net.files[path] = l
	fd, err := p.install(l)
	return &fakeAcceptor{p, l, fd, false}, err
}

func (p *fakeProc) dial(_ context.Context, path string) (stream, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	l := p.net.files[path]
	switch {
	case l == nil:
		return nil, &os.PathError{Op: "dial", Path: path, Err: os.ErrNotExist}
	case l.refs == 0:
		return nil, unix.ECONNREFUSED
	}
	a, b := newFakeStreams()
	p.has(a)
	l.queue = append(l.queue, b)
	l.ring()
	return a, nil
}

// has gives the process one end of a connection; the lock is held.
func (p *fakeProc) has(s *fakeStream) {
	s.proc, s.after, s.stall = p, p.after, p.stall
	p.ends, p.after, p.stall = append(p.ends, s), 0, 0
}

// fakeListener is a listening unix socket, which several processes may have.
type fakeListener struct {
	path  string
	refs  int
	queue []*fakeStream
	bell  chan struct{}
}

func (l *fakeListener) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// fakeAcceptor is one process's descriptor of a fakeListener.
type fakeAcceptor struct {
	proc   *fakeProc
	l      *fakeListener
	fd     int
	closed bool
}

func (a *fakeAcceptor) Accept() (stream, error) {
	for {
		s, err, ok := a.try()
		if ok {
			return s, err
		}
		select {
		case <-a.l.bell:
		case <-time.After(50 * time.Millisecond): // another process may have taken the ring
		}
	}
}

func (a *fakeAcceptor) try() (stream, error, bool) {
	a.proc.net.mu.Lock()
	defer a.proc.net.mu.Unlock()
	switch {
	case a.closed || a.proc.dead:
		return nil, net.ErrClosed, true
	case len(a.l.queue) == 0:
		return nil, nil, false
	}
	if errno := a.proc.net.failing("accept"); errno != 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)}, true
	}
	s := a.l.queue[0]
	a.l.queue = a.l.queue[1:]
	a.proc.has(s)
	return s, nil, true
}

func (a *fakeAcceptor) close(handed bool) {
	a.proc.net.mu.Lock()
	defer a.proc.net.mu.Unlock()
	if a.closed || a.proc.dead {
		return
	}
	a.closed = true
	a.proc.drop(a.fd)
	if !handed && a.proc.net.files[a.l.path] == a.l {
		delete(a.proc.net.files, a.l.path)
	}
	a.l.ring()
}

func (a *fakeAcceptor) control(f func(fd int) error) error { return f(a.fd) }

// fakeStream is one end of a connection.
type fakeStream struct {
	proc *fakeProc
	in   *fakePipe // what the other end writes
	out  *fakePipe
	keep bool
	have []int // descriptors that have come

	mu    sync.Mutex
	done  int // octets read and written
	after int // see fakeProc
	stall time.Duration
}

// count counts octets that are about to be written, or were read. It returns how many of
// them go through, and whether the process dies then.
func (s *fakeStream) count(n int) (through int, dies bool) {
	s.mu.Lock()
	before := s.done
	s.done += n
	happens := s.after > 0 && s.done >= s.after
	stall := s.stall
	if happens && stall == 0 {
		n, dies = max(0, s.after-before), true
	}
	if happens {
		s.after = 0
	}
	s.mu.Unlock()
	if happens {
		time.Sleep(stall)
	}
	return n, dies
}

// fakePipe is one direction.
type fakePipe struct {
	bell     chan struct{}
	mu       sync.Mutex
	data     []byte
	fds      []any
	closed   bool // nothing more comes
	deadline time.Time
}

func newFakeStreams() (a, b *fakeStream) {
	x, y := newFakePipe(), newFakePipe()
	return &fakeStream{in: x, out: y}, &fakeStream{in: y, out: x}
}

func newFakePipe() *fakePipe {
	return &fakePipe{bell: make(chan struct{}, 1)}
}

func (p *fakePipe) do(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// take reads what is there. It reports whether that is something: octets, or an error.
func (p *fakePipe) take(b []byte) (n int, fds []any, err error, ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.data) > 0:
		n = copy(b, p.data)
		p.data = p.data[n:]
		fds, p.fds = p.fds, nil
	case p.closed:
		err = io.EOF
	case !p.deadline.IsZero() && !p.deadline.After(time.Now()):
		err = os.ErrDeadlineExceeded
	default:
		return 0, nil, nil, false
	}
	return n, fds, err, true
}

func (s *fakeStream) Read(b []byte) (int, error) {
	for {
		if n, fds, err, ready := s.in.take(b); ready {
			s.arrived(fds)
			if _, dies := s.count(n); dies {
				s.proc.kill()
				return 0, errDead
			}
			return n, err
		}
		var timer <-chan time.Time
		if at := s.in.until(); !at.IsZero() {
			timer = time.After(time.Until(at))
		}
		select {
		case <-s.in.bell:
		case <-timer:
		}
	}
}

// until returns the deadline of a read; zero: none.
func (p *fakePipe) until() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deadline
}

// arrived gives descriptors to the process, or closes them.
func (s *fakeStream) arrived(objects []any) {
	s.proc.net.mu.Lock()
	defer s.proc.net.mu.Unlock()
	if s.proc.dead {
		objects, s.have = nil, nil
	}
	for _, o := range objects {
		if fd, err := s.proc.install(o); err == nil && s.keep {
			s.have = append(s.have, fd)
		} else if err == nil {
			s.proc.drop(fd)
		}
		unref(o) // that was on its way
	}
}

func ref(object any, n int) {
	switch o := object.(type) {
	case *fakeSocket:
		o.refs += n
	case *fakeListener:
		o.refs += n
	}
}

func unref(object any) { ref(object, -1) }

func (s *fakeStream) takeFDs() []int {
	s.proc.net.mu.Lock()
	defer s.proc.net.mu.Unlock()
	fds := s.have
	s.keep, s.have = true, nil
	return fds
}

func (s *fakeStream) Write(b []byte) (int, error) { return s.write(b, nil) }

func (s *fakeStream) write(b []byte, objects []any) (int, error) {
	n, dies := s.count(len(b))
	if b = b[:n]; dies {
		defer s.proc.kill()
	}
	closed := false
	s.out.do(func() {
		if closed = s.out.closed; !closed {
			s.out.data = append(s.out.data, b...)
			s.out.fds = append(s.out.fds, objects...)
		}
	})
	if closed {
		s.proc.net.mu.Lock()
		defer s.proc.net.mu.Unlock()
		for _, o := range objects {
			unref(o)
		}
		return 0, unix.EPIPE
	}
	return len(b), nil
}

func (s *fakeStream) sendFDs(b []byte, fds []int) error {
	var objects []any
	s.proc.net.mu.Lock()
	for _, fd := range fds {
		o := s.proc.fds[fd]
		ref(o, 1)
		objects = append(objects, o)
	}
	s.proc.net.mu.Unlock()
	_, err := s.write(b, objects)
	return err
}

// Close closes both directions: the other end reads what is there, and then the end.
func (s *fakeStream) Close() error {
	var lost []any
	s.in.do(func() {
		lost = s.in.fds
		s.in.closed, s.in.data, s.in.fds = true, nil, nil
	})
	s.out.do(func() { s.out.closed = true })
	s.proc.net.mu.Lock()
	defer s.proc.net.mu.Unlock()
	for _, o := range lost {
		unref(o)
	}
	return nil
}

func (s *fakeStream) SetReadDeadline(t time.Time) error {
	s.in.do(func() { s.in.deadline = t })
	return nil
}

func (s *fakeStream) SetWriteDeadline(time.Time) error { return nil }
