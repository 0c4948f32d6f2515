package bfd

import (
	"context"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// poller is what the thread of the sessions asks of the kernel. Nothing but poll and rest
// takes longer than a few microseconds.
type poller interface {
	// begin prepares the calling thread, which is the sessions' from now on. It returns
	// what it could not have, see [RealTimeError], and fails if that was required.
	begin(*Config) (lacks []error, err error)
	// quiet prepares the other threads of a process that does nothing but BFD. One goroutine
	// calls it, again and again.
	quiet()
	// watch has poll report fd when it has something to read, until fd is closed.
	watch(fd int) error
	// poll waits for d, or until there is something to read, or until wake. It fills
	// ready with descriptors and returns their number; the descriptor of wake is -1. If
	// ready is full there may be more. An error says that there is no point in going on.
	poll(ready []int, d time.Duration) (int, error)
	// rest sleeps for d, whatever arrives.
	rest(d time.Duration)
	// receive receives up to len(m) messages; 0 if none waits.
	receive(fd int, m []mmsghdr) (int, unix.Errno)
	// send sends as many messages of m as the kernel takes before the first error,
	// which it returns if it took none.
	send(fd int, m []mmsghdr) (int, unix.Errno)
	// wake ends a poll. Any goroutine may call it, until close.
	wake()
	close()
}

// host is what the other goroutines ask of the kernel. They may have to wait.
type host interface {
	// clock returns the clock, whose monotonic time is the same in every process.
	clock() (clock, error)
	random() uint32
	poller() (poller, error)
	// namespace opens the network namespace at path; an empty path is the process's own.
	namespace(path string) (namespace, error)
	// namespaceOf opens the network namespace that a socket is in, which was at path.
	namespaceOf(fd int, path string) (namespace, error)
	closeFD(fd int)
	// listener makes a listener of a descriptor that was handed over, which it closes.
	listener(fd int) (listener, error)
	dial(ctx context.Context, path string) (stream, error)
}

// namespace is an open network namespace. It stays the same one whatever becomes of the
// path that led there: `ip netns del` takes the name away, not the namespace, and
// `ip netns add` gives it to another one.
type namespace interface {
	// at reports whether path leads to this namespace, and whether it leads anywhere.
	at(path string) (same, exists bool)
	// link looks an interface up by its name.
	link(name string) (device, error)
	// source returns the address that the kernel would send from.
	source(k Key) (netip.Addr, error)
	// isLocal reports whether an address is one of the namespace's own.
	isLocal(addr netip.Addr) bool
	// sender opens the socket that sends whole packets of a family. It says what the
	// packets have to do without.
	sender(ipv6 bool) (fd int, lacks, err error)
	// enlarge gives a sender that another process has opened the send buffer of ours.
	enlarge(fd int)
	// receiver opens a socket for control packets.
	receiver(to rxKey) (fd int, err error)
	// echo opens the socket for echo packets on an interface, in both directions.
	echo(ipv6 bool, ifindex int) (fd int, err error)
	// fromSelf has a receiver take or drop packets that never left the host.
	fromSelf(fd int, take bool) error
	// neighbor returns the link-layer address of an IP address; nil if the kernel does
	// not know it.
	neighbor(ifindex int, addr netip.Addr) []byte
	// poke makes the kernel look for the link-layer address of an IP address, or check
	// the one it has.
	poke(k Key)
	// nextHops returns the namespace's next-hop objects for [bfdcore.Failover].
	nextHops() (nextHops, error)
	close()
}

// nextHops are the kernel's next-hop objects of one namespace.
type nextHops interface {
	bfdcore.Kernel
	close()
}

// device is an interface.
type device struct {
	index int  // as the kernel numbers it
	vrf   int  // index of the VRF that the interface belongs to, or is; 0: none
	isVRF bool // it is the VRF
}

// rxKey is what a receiving socket is bound to. A zero address stands for all
// addresses of the family.
type rxKey struct {
	ipv6    bool       // else IPv4
	port    uint16     // of UDP; 0: an echo session's packet socket
	local   netip.Addr // what it is bound to
	ifindex int        // of a link-local address, of a VRF, or of an echo session's interface
}

// stream is a connection between the BFD process and a client or a successor: a unix
// socket, over which descriptors can travel.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// sendFDs sends descriptors alongside b, which is not empty; they stay open here.
	sendFDs(b []byte, fds []int) error
	// takeFDs makes Read keep the descriptors that come, and returns those that have
	// come since the last time. They are the caller's.
	takeFDs() []int
}

// listener is where streams come from.
type listener interface {
	Accept() (stream, error)
	// Close closes the listener, and removes its file unless handed is true.
	close(handed bool)
	// control calls f with the listener's descriptor, whose mode f must not change:
	// a predecessor or successor has the same open file description.
	control(f func(fd int) error) error
}
