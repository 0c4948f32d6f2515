package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
)

// bfdd that loses its data plane takes the sessions over, hears nothing since it does not
// listen, and tells BGP after 3 s that they are down; if the data plane comes back, at once.
// So the process of the sessions keeps a second descriptor of each connection, and of a file
// in memory with what bfdd has added on it. If we are killed or replaced, bfdd does
// not notice.

// keptConn is what outlives us of a connection.
type keptConn struct {
	slot  int
	conn  *handover.Socket
	file  *handover.Socket
	fd    int      // of the connection: a duplicate, for the keeper alone
	added *os.File // messages of bfdd, adds and deletes, in their order; nil: nothing outlives us
	size  int      // of the file
	base  int      // what it had when it was last written anew
}

// logSlack is how far a file may grow beyond twice what it must have.
const logSlack = 64 << 10

// slot returns the least number that no connection has.
func (s *shell) slot() int {
	for slot := 0; ; slot++ {
		used := false
		for _, c := range s.conns {
			used = used || c.kept != nil && c.kept.slot == slot
		}
		if !used {
			return slot
		}
	}
}

func kept(client *handover.Client, slot int) *keptConn {
	return &keptConn{slot: slot, conn: client.Of(fmt.Sprintf("conn%d", slot)), file: client.Of(fmt.Sprintf("sessions%d", slot)), fd: -1}
}

// newKeptConn has a connection kept. Without memory or descriptors it is not: all that is
// lost then is what happens without a keeper.
func newKeptConn(client *handover.Client, slot int, c *net.UnixConn) *keptConn {
	k := kept(client, slot)
	raw, err := c.SyscallConn()
	if err != nil {
		return k
	}
	_ = raw.Control(func(fd uintptr) { k.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || k.fd < 0 {
		k.fd = -1
		return k
	}
	if k.rewrite(nil) {
		k.conn.Keep(k.fd)
	}
	return k
}

// note notes a message of bfdd; all returns everything that is to be known.
func (k *keptConn) note(m *bfddp.Message, all func() []byte) {
	if k.added == nil {
		return
	}
	b, _ := m.AppendBinary(nil) // it was parsed
	if k.size+len(b) > 2*k.base+logSlack {
		k.rewrite(all())
		return
	}
	if n, err := k.added.Write(b); err != nil || n != len(b) {
		k.forget()
		return
	}
	k.size += len(b)
}

// rewrite puts a new file in place of the present one.
func (k *keptConn) rewrite(text []byte) bool {
	fd, err := unix.MemfdCreate("bfdd-sessions", unix.MFD_CLOEXEC)
	if err != nil {
		k.forget()
		return false
	}
	f := os.NewFile(uintptr(fd), "bfdd-sessions")
	if _, err := f.Write(text); err != nil {
		f.Close()
		k.forget()
		return false
	}
	k.file.Keep(fd)
	if k.added != nil {
		k.added.Close()
	}
	k.added, k.size, k.base = f, len(text), len(text)
	return true
}

// forget has it kept no longer.
func (k *keptConn) forget() {
	k.conn.Forget()
	k.file.Forget()
	if k.fd >= 0 {
		unix.Close(k.fd)
		k.fd = -1
	}
	if k.added != nil {
		k.added.Close()
		k.added = nil
	}
}

// inherit takes the connections over that an earlier process of ours has left.
func (s *shell) inherit() {
	for slot := range maxConns {
		k := kept(s.keeper, slot)
		fd, ok := k.conn.Inherit()
		file, also := k.file.Inherit()
		if ok {
			k.fd = fd
		}
		if also {
			k.added = os.NewFile(uintptr(file), "bfdd-sessions")
		}
		if !ok || !also || !s.resume(k) {
			if ok || also {
				k.forget()
			}
		}
	}
}

// resume goes on with a connection. It reports whether it can.
func (s *shell) resume(k *keptConn) bool {
	size, err := k.added.Seek(0, io.SeekEnd)
	if err != nil {
		return false
	}
	text := make([]byte, size)
	if _, err := k.added.ReadAt(text, 0); err != nil && err != io.EOF {
		return false
	}
	batch, used, err := parseAll(text) // the last one may have been written in part
	if err != nil {
		return false
	}
	if _, err := k.added.Seek(int64(used), io.SeekStart); err != nil {
		return false
	}
	k.size, k.base = used, used/2
	dup, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(dup), "bfdd")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return false
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return false
	}
	c := s.attach(connected{unixConn, s.connect != ""})
	c.kept = k
	for i := range batch {
		if s.plane.Receive(c.id, &batch[i], time.Now()) != nil {
			break // it was accepted before
		}
	}
	s.log.Info("bfdd is attached still", "connection", c.id, "sessions", s.plane.Bound(c.id))
	s.ended.Go(func() { s.read(c) })
	return true
}
