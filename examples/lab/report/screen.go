package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Screen is standard output with a table that stays below everything else and
// is drawn again several times a second. On anything but a terminal there is no
// table, just the output. It is safe for concurrent use.
type Screen struct {
	out   io.Writer
	table func() string

	mu   sync.Mutex
	rows int  // of the table that is on the screen now
	mid  bool // the output so far ended inside a line: no place for a table
	stop chan struct{}
	done chan struct{}
}

// refresh is how often the table is drawn.
const refresh = 300 * time.Millisecond

// NewScreen starts to show table below what is written, if f is a terminal.
func NewScreen(f *os.File, table func() string) *Screen {
	s := &Screen{out: f, stop: make(chan struct{}), done: make(chan struct{})}
	if !terminal(f) {
		close(s.done)
		return s
	}
	s.table = table
	go s.run()
	return s
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Close removes the table.
func (s *Screen) Close() {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

// Write prints above the table.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.mid = len(b) > 0 && !bytes.HasSuffix(b, []byte("\n"))
	return s.out.Write(b)
}

func (s *Screen) run() {
	defer close(s.done)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		text := s.table() // asks daemons: not under the lock
		s.mu.Lock()
		if !s.mid {
			s.erase()
			fmt.Fprint(s.out, text)
			s.rows = strings.Count(text, "\n")
		}
		s.mu.Unlock()
	}
}

func (s *Screen) erase() {
	if s.rows > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.rows)
		s.rows = 0
	}
}
