package afpacket

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// shelf is a SocketStore in this process.
type shelf struct {
	kept      int // -1: nothing
	inherited int
}

func (s *shelf) Keep(fd int) {
	s.drop()
	s.kept, _ = unix.Dup(fd)
}

func (s *shelf) drop() {
	if s.kept >= 0 {
		unix.Close(s.kept)
		s.kept = -1
	}
}

func (s *shelf) Inherit() (int, bool) {
	if s.kept < 0 {
		return -1, false
	}
	s.inherited++
	fd, _ := unix.Dup(s.kept)
	return fd, true
}

// TestInherit: what arrives between two programs is read by the second, once, if
// somebody may still wait for the answer, whichever of the interfaces it came by, in
// whatever order they are added before the first Read; then the socket is like any other.
// One that is not what the program would make is not taken.
func TestInherit(t *testing.T) {
	a, b, al, bl := pair(t, 2)
	tx := open(t, a, 64)
	keeper := &shelf{kept: -1}
	t.Cleanup(keeper.drop)
	program := func(links ...int) *Conn {
		c, err := Open(Config{NetNS: b.Path, EtherType: etherType, FrameSize: 64, SocketStore: keeper, AllMulticast: true,
			Accept: []Cond{OneOf(12, 2, etherType)}})
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if err := c.Add(link); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	say := func(on int, payload byte) time.Time {
		if n, err := tx.Write([]Frame{frame(al[on], payload)}); n != 1 {
			t.Fatal(err)
		}
		return time.Now()
	}
	hear := func(c *Conn) (heard []byte) {
		in := make([]Frame, Batch)
		for {
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := c.Read(in)
			if err != nil {
				return heard
			}
			for _, f := range in[:n] {
				heard = append(heard, f.Data[14])
			}
		}
	}
	program(bl...).Close()
	stamping(t, b, tx, al[0], bl[0])
	say(0, 1)
	time.Sleep(patience + 100*time.Millisecond)
	last := say(0, 2)
	say(1, 3)
	c := program(bl[1], bl[0])
	if got := string(hear(c)); got != "\x02\x03" && time.Since(last) < patience {
		t.Errorf("heard %q, want what is not too old", got)
	}
	if keeper.inherited != 1 {
		t.Errorf("%d inherited", keeper.inherited)
	}
	say(0, 4)
	if got := string(hear(c)); got != "\x04" {
		t.Errorf("heard %q afterwards", got)
	}
	c.Close()

	// The successor has one of the interfaces only.
	c = program(bl[0])
	say(1, 5)
	say(0, 6)
	if got := string(hear(c)); got != "\x06" {
		t.Errorf("heard %q with one interface", got)
	}
	c.Close()

	// A socket of one interface, as programs of before left them.
	b.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err == nil {
			defer unix.Close(fd)
			keeper.Keep(fd)
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(etherType), Ifindex: bl[0]})
		}
		return err
	})
	c = program(bl...)
	say(1, 7)
	if got := string(hear(c)); got != "\x07" {
		t.Errorf("heard %q after a socket of one interface was left", got)
	}
	c.Close()
}

// TestReceived: a frame says when it came, not when it was read.
func TestReceived(t *testing.T) {
	a, b, al, bl := pair(t, 1)
	tx, rx := open(t, a, 64), open(t, b, 64)
	if err := rx.Add(bl[0]); err != nil {
		t.Fatal(err)
	}
	stamping(t, b, tx, al[0], bl[0])
	in := make([]Frame, Batch)
	for range 10 {
		before := time.Now()
		if _, err := tx.Write([]Frame{frame(al[0])}); err != nil {
			t.Fatal(err)
		}
		const slack = 5 * time.Millisecond // two clocks are not read at once
		after := time.Now()
		time.Sleep(4 * slack)
		if n, err := rx.Read(in); n != 1 {
			t.Fatal(n, err)
		}
		if got := in[0].Received; got.Before(before.Add(-slack)) || got.After(after.Add(slack)) {
			t.Errorf("received %v after it was sent, which took %v", got.Sub(before), after.Sub(before))
		}
	}
}

// stamping waits until the kernel notes when frames arrive that tx sends on al: it begins
// to some time after it was told to, from a work queue (net_enable_timestamp).
func stamping(t *testing.T, b *nstest.NS, tx *Conn, al, bl int) {
	t.Helper()
	const probe = etherType + 1 // nobody else hears it
	fd := -1
	b.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, int(htons(probe))); err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}
		return err
	})
	defer unix.Close(fd)
	f := frame(al, 0)
	f.Data[12], f.Data[13] = probe>>8, probe&0xff
	data, oob := make([]byte, 64), make([]byte, 64)
	for end := time.Now().Add(nstest.Patience); time.Now().Before(end); {
		if _, err := tx.Write([]Frame{f}); err != nil {
			t.Fatal(err)
		}
		const wait = 5 * time.Millisecond
		time.Sleep(2 * wait)
		_, n, _, _, err := unix.Recvmsg(fd, data, oob, 0)
		if err != nil {
			continue
		}
		list, _ := unix.ParseSocketControlMessage(oob[:n])
		for _, m := range list {
			if m.Header.Type == unix.SCM_TIMESTAMPNS {
				ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
				if time.Since(time.Unix(ts.Unix())) > wait {
					return // not the time of reading it
				}
			}
		}
	}
	t.Fatal("the kernel does not stamp frames")
}
