package netns

import (
	"fmt"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// A network namespace has a name only as long as some file keeps it: `ip netns del` takes the
// name from a namespace that goes on working, since our sockets are in it, and `ip netns add`
// takes it for another one. Whatever this process does goes by an open file, so that it stays
// in one namespace until it ends; WatchNames logs when the name leads to another one. Only the
// BFD process, which outlives us, goes by the name.

// OpenFile opens a namespace and returns a path that leads to it as long as the file is open.
func OpenFile(n config.NetNS) (*os.File, string, error) {
	name := n.Path()
	if n == "" {
		name = "/proc/thread-self/ns/net" // of a thread that has not entered another one
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, "", fmt.Errorf("network namespace: %w", err)
	}
	return f, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), nil
}

// NameState is what became of the name of a namespace.
type NameState uint8

const (
	NameFine     NameState = iota // it leads to the namespace
	NameGone                      // it does not exist any more
	NameReplaced                  // it is the name of another namespace
)

// String returns the state in one word.
func (s NameState) String() string {
	if words := [...]string{"fine", "gone", "replaced"}; int(s) < len(words) {
		return words[s]
	}
	return fmt.Sprintf("NameState(%d)", uint8(s))
}

// nameState compares an open namespace with the one that a path leads to now.
func nameState(file *os.File, path string) NameState {
	if file == nil {
		return NameFine
	}
	now, err := os.Stat(path)
	if err != nil {
		return NameGone
	}
	if was, err := file.Stat(); err == nil && !os.SameFile(was, now) {
		return NameReplaced
	}
	return NameFine
}
