package afpacket

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/police"
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
	c, err := Open(Config{NetNS: ns.Path, EtherType: etherType, FrameSize: size, Accept: []Cond{OneOf(12, 2, etherType)}})
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

// TestFlood has one interface send as fast as it can, while others ask a question every
// few milliseconds. None is lost if the one that floods has a limit, and few if not, with
// few interfaces (which the filter names) and many (of which it names those that are not to
// be heard). The one that floods is heard again when it does not.
func TestFlood(t *testing.T) {
	a, b, al, bl := pair(t, 3)
	for _, tc := range []struct {
		name  string
		many  bool
		limit float64
	}{{"few, no limit", false, 0}, {"few, a limit", false, 2000}, {"many, no limit", true, 0}, {"many, a limit", true, 2000}} {
		t.Run(tc.name, func(t *testing.T) {
			tx, flood, rx := open(t, a, 64), open(t, a, 64), open(t, b, 64)
			for _, l := range bl {
				if err := rx.Add(l); err != nil {
					t.Fatal(err)
				}
			}
			if rx.Limit(bl[0], tc.limit); tc.many {
				for i := range police.MostListed {
					rx.police.Add(1<<20 + i) // that are not there, but count
				}
			}
			heard := hearAll(t, rx)
			stop := make(chan struct{})
			var both sync.WaitGroup
			flooded := 0
			both.Go(func() {
				batch := slices.Repeat([]Frame{frame(al[0], make([]byte, 46)...)}, Batch)
				for {
					select {
					case <-stop:
						return
					default:
						n, _ := flood.Write(batch)
						flooded += n
					}
				}
			})
			asked := 0
			for range 400 {
				time.Sleep(2 * time.Millisecond)
				n, err := tx.Write([]Frame{frame(al[1], 1), frame(al[2], 1)})
				if asked += n; err != nil {
					t.Fatal(err)
				}
			}
			close(stop)
			both.Wait()
			answered := func() int { return heard(bl[1]) + heard(bl[2]) }
			if tc.limit > 0 {
				nstest.Wait(t, time.Second, "every question", func() bool { return answered() == asked })
			} else { // the kernel had no room while the reader was not on a processor
				nstest.Wait(t, time.Second, "nearly every question", func() bool { return answered() > asked*9/10 })
			}
			t.Logf("heard %d of %d frames of flood, and %d of %d questions; no room for %d", heard(bl[0]), flooded, answered(), asked, rx.Dropped())
			before := heard(bl[0])
			nstest.Wait(t, 2*time.Second, "the one that flooded", func() bool {
				_, _ = tx.Write([]Frame{frame(al[0], 1)})
				return heard(bl[0]) > before
			})
		})
	}
}

// hearAll reads until the test ends and counts by interface.
func hearAll(t *testing.T, c *Conn) func(link int) int {
	var mu sync.Mutex
	counts := map[int]int{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := make([]Frame, Batch)
		for {
			n, err := c.Read(in)
			if err != nil {
				return
			}
			mu.Lock()
			for _, f := range in[:n] {
				counts[f.Link]++
			}
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return func(link int) int {
		mu.Lock()
		defer mu.Unlock()
		return counts[link]
	}
}

// TestOthers: interfaces that nobody asked for cost the reader at most a frame each, all
// of them are heard with 0, and one that comes later is heard at once.
func TestOthers(t *testing.T) {
	a, b, al, bl := pair(t, 3)
	tx, rx := open(t, a, 64), open(t, b, 32)
	if err := errors.Join(rx.Add(bl[1]), rx.Add(bl[1])); err != nil {
		t.Fatal(err)
	}
	heard := hearAll(t, rx)
	say := func(on int) {
		if n, err := tx.Write([]Frame{frame(al[on], make([]byte, 100)...)}); n != 1 {
			t.Fatal(err)
		}
	}
	nstest.Wait(t, time.Second, "a frame", func() bool { say(0); say(1); return heard(bl[1]) > 3 })
	if n := heard(bl[0]); n != 0 {
		t.Errorf("heard %d frames of an interface that was not added", n)
	}
	if err := rx.Add(bl[0]); err != nil {
		t.Fatal(err)
	}
	say(0)
	nstest.Wait(t, time.Second, "the one that came later", func() bool { return heard(bl[0]) == 1 })
	if err := rx.Add(0); err != nil {
		t.Fatal(err)
	}
	say(2)
	nstest.Wait(t, time.Second, "all", func() bool { return heard(bl[2]) == 1 })
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
	if rx.Dropped() != 0 {
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
		return rx.Dropped() > 0
	})
}
