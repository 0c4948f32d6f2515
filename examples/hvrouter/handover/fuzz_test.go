package handover

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns the two ends of a connection of the protocol's kind.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// FuzzMessage: whatever a daemon says, the store goes on, and keeps no more than it was
// given.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"t", "n", "karp/12", "kndp@4026532281/7", "farp/12", "e", "k", "", "?", "k" + string(make([]byte, longestName+1))} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, withSocket bool) {
		daemon, peer := pair(t)
		s := &store{patience: time.Hour, stored: map[string]int{}}
		defer s.clear()
		var rights []byte
		if withSocket {
			rights = unix.UnixRights(0)
			data = append(data, make([]byte, max(0, 1-len(data)))...) // rights travel with an octet
		}
		if _, _, err := daemon.WriteMsgUnix(data, rights, nil); err != nil {
			return // longer than a message can be
		}
		m, err := receive(peer)
		if (len(data) == 0 || len(data) > 1+longestName) != (err != nil) {
			t.Fatalf("%q: %v", data, err)
		}
		if err != nil {
			return
		}
		refused := s.do(peer, m) != nil
		if stored := len(s.stored); stored > 1 || stored == 1 && (m.do != put || !withSocket) {
			t.Errorf("%q: keeps %v", data, s.stored)
		}
		if known := m.do == take || m.do == anew || m.do == put || m.do == forget; known == refused {
			t.Errorf("%q: refused is %v", data, refused)
		}
	})
}
