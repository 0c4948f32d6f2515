package world

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"time"
)

// trace is what happened, a line each. Its sum says whether two runs were the same; the lines
// themselves are kept only if the Config has a Trace.
type trace struct {
	sum   hash.Hash
	lines uint64
	sink  func(line string) // nil: nobody reads
}

func newTrace(sink func(string)) *trace { return &trace{sum: sha256.New(), sink: sink} }

// note adds a line.
func (w *World) note(format string, args ...any) {
	line := fmt.Sprintf("+%v %s", w.now.Round(time.Microsecond), fmt.Sprintf(format, args...))
	w.trace.lines++
	w.trace.sum.Write([]byte(line))
	w.trace.sum.Write([]byte{'\n'})
	if w.trace.sink != nil {
		w.trace.sink(line)
	}
}

// Sum returns the sum of the trace so far: two runs with the same one were the same.
func (w *World) Sum() string {
	return fmt.Sprintf("%x, %d lines", w.trace.sum.Sum(nil)[:8], w.trace.lines)
}

// Lines collects a trace.
type Lines struct{ b strings.Builder }

// Add is what a [Config] takes as its Trace.
func (l *Lines) Add(line string) { l.b.WriteString(line + "\n") }

// String returns the lines.
func (l *Lines) String() string { return l.b.String() }
