package afpacket

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const etherType = 0x88b5 // for local experiments

// pair joins two namespaces by n veth pairs and returns the indices of their ends.
func pair(t *testing.T, n int) (a, b *nstest.NS, al, bl []int) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	a, b = nstest.New(t, "a"), nstest.New(t, "b")
	for i := range n {
		name := string(rune('p' + i))
		nstest.Veth(a, name, "", b, name, "")
		al, bl = append(al, index(t, a, name)), append(bl, index(t, b, name))
	}
	return a, b, al, bl
}

func index(t *testing.T, ns *nstest.NS, name string) (link int) {
	t.Helper()
	ns.Do(func() error {
		ifi, err := net.InterfaceByName(name)
		if err == nil {
			link = ifi.Index
		}
		return err
	})
	return link
}

func open(t *testing.T, ns *nstest.NS, size int) *Conn {
	t.Helper()
	c, err := Open(Config{NetNS: ns.Path, EtherType: etherType, FrameSize: size, Filter: Filter(1<<16, Equal(12, 2, etherType))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func frame(link int, payload ...byte) Frame {
	data := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, etherType >> 8, etherType & 0xff}, payload...)
	return Frame{Link: link, Data: data}
}

func TestTurns(t *testing.T) {
	a, b, al, bl := pair(t, 2)
	tx, rx := open(t, a, 64), open(t, b, 32)
	for _, l := range bl {
		if err := errors.Join(rx.Add(l), rx.Add(l)); err != nil {
			t.Fatal(err)
		}
	}
	// A hundred on the first link, one on the second: the second gets its turn in the
	// first batch, and a frame longer than the buffer is cut.
	var frames []Frame
	for range 100 {
		frames = append(frames, frame(al[0], 0))
	}
	frames = append(frames, frame(al[1], make([]byte, 100)...))
	in, second := make([]Frame, Batch), false
	for range 5 { // a kernel that is busy may hand over the first link's frames alone
		if n, err := tx.Write(append(frames, Frame{})); n != 101 || err != nil {
			t.Fatal(n, err)
		}
		_ = rx.SetReadDeadline(time.Now().Add(nstest.Patience))
		n, err := rx.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range in[:n] {
			second = second || f.Link == bl[1] && len(f.Data) == 32
		}
		if second {
			break
		}
		for err == nil { // the rest
			_ = rx.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err = rx.Read(in)
		}
	}
	if !second {
		t.Error("the second link got no turn in the first batch")
	}
	if n, err := rx.Read(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestErrors(t *testing.T) {
	a, b, al, bl := pair(t, 2)
	tx, rx := open(t, a, 64), open(t, b, 64)
	if err := rx.Add(9999); err == nil {
		t.Error("added an interface that is not there")
	}
	if _, err := Open(Config{NetNS: "/nowhere"}); err == nil {
		t.Error("opened in no namespace")
	}
	for _, l := range bl {
		if err := rx.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	// One that cannot go does not keep the others.
	a.IP("link set p down")
	n, err := tx.Write([]Frame{frame(al[0], 1), frame(9999, 2), frame(al[1], 3)})
	if n != 1 || !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("%d sent, %v", n, err)
	}
	in := make([]Frame, Batch)
	_ = rx.SetReadDeadline(time.Now().Add(nstest.Patience))
	if n, err := rx.Read(in); n != 1 || err != nil || in[0].Data[14] != 3 {
		t.Fatalf("%d read, %v", n, err)
	}
	rx.Remove(bl[1])
	rx.Remove(bl[1])
	_, _ = tx.Write([]Frame{frame(al[1], 4)})
	_ = rx.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := rx.Read(in); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d read from a removed link, %v", n, err)
	}
	if rx.Dropped(bl[1]) != 0 || rx.Dropped(bl[0]) != 0 {
		t.Error("dropped")
	}
	rx.Close()
	if err := rx.Add(bl[1]); !errors.Is(err, os.ErrClosed) {
		t.Errorf("added to a closed Conn: %v", err)
	}
}

// What does not fit the receive buffer is counted.
func TestDropped(t *testing.T) {
	a, b, al, bl := pair(t, 1)
	tx := open(t, a, 64)
	rx, err := Open(Config{NetNS: b.Path, EtherType: etherType, FrameSize: 64, ReceiveBuffer: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	if err := rx.Add(bl[0]); err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, time.Second, "frames to be dropped", func() bool {
		for range 10 {
			_, _ = tx.Write([]Frame{frame(al[0], make([]byte, 1000)...), frame(al[0], 2), frame(al[0], 3)})
		}
		return rx.Dropped(bl[0]) > 0
	})
}
