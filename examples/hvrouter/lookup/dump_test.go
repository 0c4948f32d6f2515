package lookup

import (
	"testing"

	"golang.org/x/sys/unix"
)

// interrupting is a Conn whose first dumps are interrupted and lack an entry.
type interrupting struct {
	Conn
	left, made int
}

func (c *interrupting) Dump(_ []byte, f func(typ uint16, body []byte)) error {
	c.made++
	f(0, []byte{1})
	if c.left > 0 {
		c.left--
		return errInterrupted
	}
	f(0, []byte{2})
	return nil
}

// A dump that the kernel marks as interrupted is made again, as often as passes says.
func TestDumpInterrupted(t *testing.T) {
	for left, want := range map[int]int{0: 1, 2: 3, passes: passes} {
		c, got := &interrupting{left: left}, 0
		err := dump(c, nil, func() { got = 0 }, func([]byte) { got++ })
		if c.made != want || left < passes && (err != nil || got != 2) || left == passes && err != errInterrupted {
			t.Errorf("%d interrupted: %d made, %d entries, %v", left, c.made, got, err)
		}
	}
	b := make([]byte, 2*unix.SizeofNlMsghdr+4)
	native.PutUint32(b, unix.SizeofNlMsghdr)
	native.PutUint16(b[4:], unix.RTM_NEWLINK)
	native.PutUint16(b[6:], unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR)
	native.PutUint32(b[16:], unix.SizeofNlMsghdr+4)
	native.PutUint16(b[20:], unix.NLMSG_DONE)
	if done, interrupted, err := messages(b, func(uint16, []byte) bool { return false }); !done || !interrupted || err != nil {
		t.Errorf("done %v, interrupted %v, %v", done, interrupted, err)
	}
}
