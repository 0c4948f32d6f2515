package rtnl

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The socket needs no rights as long as it only asks.
func openTest(t *testing.T, config Config) *Socket {
	t.Helper()
	s, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSocket(t *testing.T) {
	s := openTest(t, Config{ReceiveBuffer: 1 << 20, Timeout: 5 * time.Second})
	if other := openTest(t, Config{}); s.Port() == 0 || s.Port() == other.Port() {
		t.Errorf("ports %d and %d", s.Port(), other.Port())
	}
	buffer := make([]byte, DatagramSize)
	// One interface by its name, strictly checked, and one that there is not.
	ask := func(name string) (index int32, err error) {
		b := append(Begin(nil, RTM_GETLINK, NLM_F_REQUEST, 3), make([]byte, SizeLink)...)
		err = Exchange(s, End(AppendString(b, IFLA_IFNAME, name), 0), buffer, func(m Message) { index = int32(native.Uint32(m.Body[4:])) })
		return index, err
	}
	if i, err := ask("lo"); i != 1 || err != nil {
		t.Errorf("lo: %d, %v", i, err)
	}
	if _, err := ask("nosuchlink"); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	var e *Error
	err := Exchange(s, DumpRequest(RTM_GETRULE, AF_INET, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0), buffer, nil)
	if !errors.As(err, &e) || e.Text == "" {
		t.Errorf("strict checking, in words: %v", err)
	}
	names := map[string]bool{}
	if err := s.Dump(DumpRequest(RTM_GETLINK, make([]byte, SizeLink)...), buffer, func(b []byte) (bool, error) {
		done, _, err := WalkDump(b, func(m Message) {
			for typ, v := range Attributes(m.Body[SizeLink:]) {
				if typ == IFLA_IFNAME {
					names[v.Text()] = true
				}
			}
		})
		return done, err
	}); err != nil || !names["lo"] {
		t.Errorf("%v, %v", names, err)
	}
	// A datagram that is longer than the buffer.
	if err := s.Send(DumpRequest(RTM_GETLINK, make([]byte, SizeLink)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(buffer[:20]); !errors.Is(err, unix.EMSGSIZE) {
		t.Error(err)
	}
}

func TestSocketWait(t *testing.T) {
	s := openTest(t, Config{Timeout: time.Millisecond})
	if _, err := s.Receive(make([]byte, 16)); !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
	if err := s.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	s = openTest(t, Config{})
	if err := s.Join(RTNLGRP_LINK, RTNLGRP_NEIGH); err != nil {
		t.Error(err)
	}
	if err := s.Join(9999); err == nil {
		t.Error("joined a group that there is not")
	}
	if err := s.Ignore(s.Port(), 4711); err != nil {
		t.Error(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Wait() }()
	s.Close()
	if err := <-ended; err == nil {
		t.Error("Wait of a closed socket returns nil")
	}
	for name, err := range map[string]error{
		"Send": s.Send(nil), "Wait": s.Wait(), "Join": s.Join(RTNLGRP_LINK), "Ignore": s.Ignore(1),
		"Dump": s.Dump(nil, make([]byte, 16), nil),
	} {
		if err == nil {
			t.Errorf("%s of a closed socket returns nil", name)
		}
	}
	if err := (&Socket{file: s.file, timeout: 1}).Wait(); err == nil {
		t.Error("Wait of a closed socket returns nil")
	}
	if _, err := s.Receive(make([]byte, 16)); err == nil || errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := Open(Config{NetNS: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, fd := range []int{-1, 0} { // none, and one that is no socket
		if _, err := setup(fd, 0); err == nil {
			t.Errorf("descriptor %d is a netlink socket", fd)
		}
	}
}
