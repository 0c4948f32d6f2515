// Package scenario runs golden text scenarios against a pure state machine under
// virtual time. A file is read line by line:
//
//	# a comment, kept
//	t=+0s start           an input: time since the beginning, and words
//	t=+0s -> advertise    an output, rewritten with -update
//
// Before each input the machine is advanced through every deadline up to that time.
// "end" is an input of its own that only lets time pass.
package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Machine is what a scenario drives.
type Machine interface {
	// Deadline is when Advance has something to do; the zero time if never.
	Deadline() time.Time
	// Advance returns what is due at now, one line each.
	Advance(now time.Time) []string
	// Do carries out an input.
	Do(now time.Time, words []string) []string
}

// Epoch is t=+0s.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Run plays a file against m and compares, or with update rewrites, its outputs.
func Run(t *testing.T, file string, update bool, m Machine) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	emit := func(now time.Time, lines []string) {
		for _, l := range lines {
			fmt.Fprintf(&out, "t=+%v -> %s\n", now.Sub(Epoch), l)
		}
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			out.WriteString(line)
			continue
		}
		if len(words) > 1 && words[1] == "->" {
			continue
		}
		at, err := time.ParseDuration(strings.TrimPrefix(words[0], "t=+"))
		if err != nil || len(words) < 2 {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		now := Epoch.Add(at)
		through(t, m, now, emit)
		out.WriteString(line)
		if words[1] != "end" {
			emit(now, m.Do(now, words[1:]))
		}
	}
	switch {
	case update:
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	case out.String() != string(text):
		t.Errorf("%s: got (-update rewrites it)\n%s", file, out.String())
	}
}

// through advances m through its deadlines before or at now.
func through(t *testing.T, m Machine, now time.Time, emit func(time.Time, []string)) {
	t.Helper()
	for range 10000 {
		d := m.Deadline()
		if d.IsZero() || d.After(now) {
			return
		}
		emit(d, m.Advance(d))
	}
	t.Fatal("the machine's deadline does not move on")
}
