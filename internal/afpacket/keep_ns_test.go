package afpacket

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shelf is a Keeper in this process.
type shelf struct {
	kept      map[int]int
	inherited int
}

func (s *shelf) Keep(link, fd int) {
	s.Forget(link)
	s.kept[link], _ = unix.Dup(fd)
}

func (s *shelf) Forget(link int) {
	if fd, ok := s.kept[link]; ok {
		unix.Close(fd)
		delete(s.kept, link)
	}
}

func (s *shelf) Inherit(link int) (int, bool) {
	fd, ok := s.kept[link]
	if !ok {
		return -1, false
	}
	s.inherited++
	fd, _ = unix.Dup(fd)
	return fd, true
}

// TestInherit: what arrives between two programs is read by the second, once, if
// somebody may still wait for the answer; then the socket is like any other. One whose
// interface went meanwhile is not taken, though the number has come back.
func TestInherit(t *testing.T) {
	a, b, al, bl := pair(t, 1)
	tx := open(t, a, 64)
	keeper := &shelf{kept: map[int]int{}}
	t.Cleanup(func() { keeper.Forget(bl[0]) })
	program := func() *Conn {
		c, err := Open(Config{NetNS: b.Path, EtherType: etherType, FrameSize: 64, Keeper: keeper,
			Filter: Filter(1<<16, Equal(12, 2, etherType))})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Add(bl[0]); err != nil {
			t.Fatal(err)
		}
		return c
	}
	say := func(payload byte) time.Time {
		if n, err := tx.Write([]Frame{frame(al[0], payload)}); n != 1 {
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
	program().Close()
	fd := keeper.kept[bl[0]]
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		t.Fatal(err)
	}
	say(1)
	time.Sleep(patience + 100*time.Millisecond)
	last := say(2)
	c := program()
	if got := string(hear(c)); got != "\x02" && time.Since(last) < patience {
		t.Errorf("heard %q, want what is not too old", got)
	}
	if on, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS); on != 0 || keeper.inherited != 1 {
		t.Errorf("time stamps %d, %d inherited", on, keeper.inherited)
	}
	say(3)
	if got := string(hear(c)); got != "\x03" {
		t.Errorf("heard %q afterwards", got)
	}
	c.Close()

	b.IP("link del p")
	b.IP(fmt.Sprintf("link add name p index %d type veth peer name p netns %s", bl[0], a.Name))
	b.IP("link set p up")
	a.IP("link set p up")
	al[0] = index(t, a, "p")
	c = program()
	say(4)
	if got := string(hear(c)); got != "\x04" {
		t.Errorf("heard %q from an interface that has come back", got)
	}
	if c.Remove(bl[0]); len(keeper.kept) != 0 {
		t.Error("kept though removed")
	}
	c.Close()
}
